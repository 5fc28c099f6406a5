# An overlay port: the sources are the checkout that it lies in.
#   vcpkg install intilery --overlay-ports=packaging/vcpkg
# Not run by the tests here: vcpkg comes from nowhere but its own repository.
get_filename_component(SOURCE_PATH "${CURRENT_PORT_DIR}/../../.." ABSOLUTE)

vcpkg_check_features(OUT_FEATURE_OPTIONS features FEATURES sandbox INTILERY_BUILD_SANDBOX)
vcpkg_find_acquire_program(PKGCONFIG)
vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS ${features} -DINTILERY_WERROR=OFF "-DPKG_CONFIG_EXECUTABLE=${PKGCONFIG}")
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/intilery)
vcpkg_fixup_pkgconfig()
vcpkg_copy_pdbs()
if("sandbox" IN_LIST FEATURES)
  vcpkg_copy_tools(TOOL_NAMES intilery-sandbox AUTO_CLEAN)
endif()
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/debug/include" "${CURRENT_PACKAGES_DIR}/debug/share")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE" "${SOURCE_PATH}/NOTICE.md")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
