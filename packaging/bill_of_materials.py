"""Writes a software bill of materials in CycloneDX, of what the packages hold, link or ask for.

`bill_of_materials.py FILE` compares NOTICE.md with the libraries that the built modules really ask the loader for, so
that neither can be forgotten. `--system-packages` lists the distribution's packages that are linked or compiled in.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

# A name in NOTICE.md -> what of the distribution it is from, and the shared library, if it is linked.
SYSTEM = {
    "libcurl": ("libcurl4-openssl-dev", "libcurl"),
    "simdjson": ("libsimdjson-dev", "libsimdjson"),
    "hiredis": ("libhiredis-dev", "libhiredis"),
    "RE2": ("libre2-dev", "libre2"),
    "LibYAML": ("libyaml-dev", "libyaml"),
    "SQLite": ("libsqlite3-dev", "libsqlite3"),
    "JSON for Modern C++": ("nlohmann-json3-dev", ""),
    "cpp-httplib": ("libcpp-httplib-dev", "libcpp-httplib"),
    "CLI11": ("libcli11-dev", ""),
    # of a libcurl that is linked statically
    "OpenSSL": ("libssl-dev", "libssl"),
    "nghttp2": ("libnghttp2-dev", "libnghttp2"),
    "zlib": ("zlib1g-dev", "libz"),
}
NPM = {"Preact": "preact", "uPlot": "uplot", "node-addon-api": "node-addon-api"}
PYPI = {"pybind11": "pybind11"}
# Of the platform, or of cpp-httplib: the sandbox's only.
PLATFORM = re.compile(r"(lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+)|ld-linux.*|libssl|libcrypto|libbrotli\w*|libz)\.so")

Component = dict[str, Any]


def component(name: str, version: str, purl: str, licence: str, how: str, scope: str = "required") -> Component:
    named = {"name": licence} if licence in ("curl", "public domain", "") else {"id": licence}
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "scope": scope,
        "purl": purl,
        **({"licenses": [{"license": named}]} if licence else {}),
        "properties": [{"name": "intilery:how", "value": how}],
    }


def notices() -> list[tuple[str, str, str]]:
    """Name, licence, where it ends up."""
    text = (ROOT / "NOTICE.md").read_text(encoding="utf-8")
    return re.findall(r"^\| \[(.+?)\]\(.*?\).*? \| (.+?) \| (.+?) \|$", text, re.MULTILINE)


def of_the_system(name: str, licence: str, how: str) -> Component:
    query = ["dpkg-query", "-W", "-f", "${source:Package}\t${source:Version}", SYSTEM[name][0]]
    source, version = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\t")
    distribution = re.search(r"^ID=\"?(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    assert distribution is not None
    return component(name, version, f"pkg:deb/{distribution[1]}/{source}@{version}?arch=source", licence, how)


def of_npm(package: str, licence: str, how: str, scope: str = "required") -> Component:
    about = json.loads((ROOT / "node_modules" / package / "package.json").read_text())
    purl = f"pkg:npm/{package.replace('@', '%40')}@{about['version']}"
    return component(package, about["version"], purl, licence or about.get("license", ""), how, scope)


def of_pypi(package: str, licence: str, how: str, scope: str = "required") -> Component | None:
    try:
        version = metadata(package)["Version"]
    except PackageNotFoundError:
        return None
    return component(package, version, f"pkg:pypi/{package.lower()}@{version}", licence, how, scope)


def linked() -> dict[str, set[str]]:
    """The shared libraries that each built module names, but for the platform's own."""
    modules = [*(ROOT / "build" / "node").glob("*.node"), *ROOT.glob(".venv/lib/python3*/site-packages/intilery/*.so")]
    if not modules:
        sys.exit("nothing is built yet: make build")
    found: dict[str, set[str]] = {}
    for module in modules:
        told = subprocess.run(["readelf", "-d", str(module)], capture_output=True, text=True, check=True).stdout
        named = re.findall(r"\(NEEDED\).*\[(.+?)\]", told)
        found[module.name] = {name for name in named if not PLATFORM.match(name)}
    return found


def unnamed(found: dict[str, set[str]], names: set[str]) -> list[str]:
    libraries = [SYSTEM[name][1] for name in names if name in SYSTEM and SYSTEM[name][1]]
    return sorted(
        f"{module} is linked with {library}, which NOTICE.md does not name"
        for module, all_of_it in found.items()
        for library in all_of_it
        if not any(re.match(rf"{known}\b", library) for known in libraries)
    )


def bill() -> dict[str, Any]:
    components: list[Component | None] = []
    for name, licence, how in notices():
        if name in SYSTEM:
            components.append(of_the_system(name, licence, how))
        elif name in NPM:
            components.append(of_npm(NPM[name], licence, how))
        elif name in PYPI:
            components.append(of_pypi(PYPI[name], licence, how))
        else:
            sys.exit(f"packaging/bill_of_materials.py does not know where {name} of NOTICE.md is from")
    about = json.loads((ROOT / "package.json").read_text())
    for package in sorted({*about["dependencies"], *about["peerDependencies"]} - {*NPM.values()}):
        scope = "required" if package in about["dependencies"] else "optional"
        components.append(of_npm(package, "", "npm installs it", scope))
    extras = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1].split("\n[")[0]
    for package in sorted(set(re.findall(r'"([a-z][\w-]*)(?:\[\w+\])?>=', extras))):
        components.append(of_pypi(package, "", "an extra of the Python package", "optional"))
    own = f"pkg:generic/intilery@{about['version']}"
    listed = [each for each in components if each is not None]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # Of the content, so that the same parts make the same bytes.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(listed, sort_keys=True))}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": own,
                "name": "intilery",
                "version": about["version"],
                "licenses": [{"license": {"id": about["license"]}}],
            }
        },
        "components": listed,
        "dependencies": [{"ref": own, "dependsOn": sorted(each["bom-ref"] for each in listed)}],
    }


def main(target: str) -> None:
    if target == "--system-packages":
        print("\n".join(package for package, _ in SYSTEM.values()))
        return
    wrong = unnamed(linked(), {name for name, _, _ in notices()})
    if wrong:
        sys.exit("\n".join(wrong))
    made = bill()
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{target}: {len(made['components'])} parts")


if __name__ == "__main__":
    main(sys.argv[1])
