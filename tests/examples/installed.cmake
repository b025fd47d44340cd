# Installs libkvstore under a scratch prefix and builds the example against it as strangers do: through
# find_package, shared and static, through pkg-config, and the header alone as C++17.
#
#   cmake -D BUILD=... -D SCRATCH=... -D CC=... -D CXX=... -D FLAGS=... -D LIBDIR=... -P installed.cmake
#
# SPDX-License-Identifier: MIT
cmake_minimum_required(VERSION 3.25)
set(here ${CMAKE_CURRENT_LIST_DIR})
set(prefix ${SCRATCH}/prefix)
set(expected "Ada!, visit 42, leaves in a minute\n")

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)
endfunction()

function(expect_output)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY OUTPUT_VARIABLE said)
  if(NOT said STREQUAL expected)
    message(FATAL_ERROR "${ARGN} said: ${said}")
  endif()
endfunction()

file(REMOVE_RECURSE ${SCRATCH})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} --component kvstore)
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} --component kvstore_library)

run(${CMAKE_COMMAND} -S ${here}/consumer -B ${SCRATCH}/consumer -D CMAKE_PREFIX_PATH=${prefix} -D CMAKE_C_COMPILER=${CC}
    "-D CMAKE_C_FLAGS=${FLAGS}")
run(${CMAKE_COMMAND} --build ${SCRATCH}/consumer)
expect_output(${SCRATCH}/consumer/with_shared)
expect_output(${SCRATCH}/consumer/with_static)

set(ENV{PKG_CONFIG_PATH} ${prefix}/${LIBDIR}/pkgconfig)
execute_process(COMMAND pkg-config --cflags --libs kvstore COMMAND_ERROR_IS_FATAL ANY OUTPUT_VARIABLE pc
                OUTPUT_STRIP_TRAILING_WHITESPACE)
separate_arguments(pc UNIX_COMMAND "${pc}")
separate_arguments(flags UNIX_COMMAND "${FLAGS}")
run(${CC} ${flags} ${here}/embedded.c ${pc} -Wl,-rpath,${prefix}/${LIBDIR} -o ${SCRATCH}/with_pkg_config)
expect_output(${SCRATCH}/with_pkg_config)

if(CXX)
  file(WRITE ${SCRATCH}/header.cc "#include <kvstore/kvstore.h>\nint main() { return kv_str(\"\").len == 0 ? 0 : 1; }\n")
  run(${CXX} -std=c++17 -Wall -Wextra -Wpedantic -Werror -I${prefix}/include -fsyntax-only ${SCRATCH}/header.cc)
endif()
