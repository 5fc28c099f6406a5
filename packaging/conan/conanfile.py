"""Conan 2: `conan create packaging/conan`, in a checkout."""

# ruff: noqa: RUF012 - this is how Conan wants them

from pathlib import Path

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load, rmdir
from conan.tools.gnu import PkgConfigDeps


class Intilery(ConanFile):
    name = "intilery"
    description = "Client for the Intilery event API: hand an event over and go on"
    license = "MIT"
    topics = ("intilery", "events", "tracking", "analytics")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False], "fPIC": [True, False], "sandbox": [True, False]}
    default_options = {"shared": False, "fPIC": True, "sandbox": True}
    implements = ["auto_shared_fpic"]

    def set_version(self) -> None:
        header = load(self, Path(self.recipe_folder, "../../core/include/intilery/version.hpp"))
        self.version = header.split('"')[1]

    def export_sources(self) -> None:
        root = Path(self.recipe_folder).parents[1]
        for files in (
            "CMakeLists.txt",
            "LICENSE",
            "NOTICE.md",
            "core/*",
            "packaging/*.in",
            "packaging/*.cmake",
            "packaging/*.map",
        ):
            copy(self, files, root, self.export_sources_folder)

    def layout(self) -> None:
        cmake_layout(self)

    def validate(self) -> None:
        check_min_cppstd(self, 20)

    def requirements(self) -> None:
        self.requires("nlohmann_json/[>=3.10 <4]", transitive_headers=True)
        for private in (
            "libcurl/[>=7.78 <9]",
            "simdjson/[>=2 <5]",
            "sqlite3/[>=3.20 <4]",
            "hiredis/[>=0.14 <2]",
            "re2/[>=20200101]",
            "libyaml/[>=0.2 <1]",
        ):
            self.requires(private)
        if self.options.sandbox:
            self.requires("cpp-httplib/[>=0.11 <1]", visible=False)
            self.requires("cli11/[>=2 <3]", visible=False)

    def build_requirements(self) -> None:
        self.tool_requires("cmake/[>=3.22]")
        if not self.conf.get("tools.gnu:pkg_config"):
            self.tool_requires("pkgconf/[>=1.8 <3]")

    def generate(self) -> None:
        CMakeDeps(self).generate()
        PkgConfigDeps(self).generate()
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["INTILERY_BUILD_SANDBOX"] = bool(self.options.sandbox)
        toolchain.cache_variables["INTILERY_WERROR"] = False
        toolchain.generate()

    def build(self) -> None:
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self) -> None:
        for file in ("LICENSE", "NOTICE.md"):
            copy(self, file, self.source_folder, Path(self.package_folder, "licenses"))
        CMake(self).install()
        # Conan writes these from package_info, and they name what it brings.
        for folder in ("share", "lib/cmake", "lib/pkgconfig"):
            rmdir(self, Path(self.package_folder, folder))

    def package_info(self) -> None:
        library = self.cpp_info.components["intilery"]
        library.libs = ["intilery"]
        # Those that Conan brings; of the system's own (platform_requires) it knows nothing to pass on.
        library.requires = [
            f"{package.ref.name}::{package.ref.name}"
            for requirement, package in self.dependencies.host.items()
            if requirement.direct and requirement.visible
        ]
        if self.options.shared:
            library.defines = ["INTILERY_SHARED"]
        if self.settings.os != "Windows":
            library.system_libs = ["pthread"]
        library.set_property("pkg_config_name", "intilery")
        if self.options.sandbox:
            testing = self.cpp_info.components["testing"]
            testing.libs = ["intilery_testing"]
            testing.requires = ["intilery"]
