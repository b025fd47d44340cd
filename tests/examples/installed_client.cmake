# Installs libkvclient under a scratch prefix and builds the example against it as strangers do: through
# find_package, shared and static, through pkg-config, and the header alone as C++17. Runs them with a server.
#
#   cmake -D BUILD=... -D SCRATCH=... -D CC=... -D CXX=... -D FLAGS=... -D LIBDIR=... -D WITH_SERVER=... -P installed_client.cmake
#
# SPDX-License-Identifier: MIT
cmake_minimum_required(VERSION 3.25)
set(here ${CMAKE_CURRENT_LIST_DIR})
set(prefix ${SCRATCH}/prefix)
set(expected "Ada!, visit 42\n")

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)
endfunction()

# Runs the program with a server; with none of them installed that is left out.
function(expect_output program)
  foreach(server kvserver redis-server)
    execute_process(COMMAND ${WITH_SERVER} -o ${expected} ${server} ${program} RESULT_VARIABLE status)
    if(status EQUAL 0)
      return()
    elseif(NOT status EQUAL 77)
      message(FATAL_ERROR "${program} with ${server}: ${status}")
    endif()
  endforeach()
endfunction()

file(REMOVE_RECURSE ${SCRATCH})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} --component kvclient)

run(${CMAKE_COMMAND} -S ${here}/client_consumer -B ${SCRATCH}/consumer -D CMAKE_PREFIX_PATH=${prefix} -D CMAKE_C_COMPILER=${CC}
    "-D CMAKE_C_FLAGS=${FLAGS}")
run(${CMAKE_COMMAND} --build ${SCRATCH}/consumer)
expect_output(${SCRATCH}/consumer/with_shared)
expect_output(${SCRATCH}/consumer/with_static)

set(ENV{PKG_CONFIG_PATH} ${prefix}/${LIBDIR}/pkgconfig)
execute_process(COMMAND pkg-config --cflags --libs kvclient COMMAND_ERROR_IS_FATAL ANY OUTPUT_VARIABLE pc
                OUTPUT_STRIP_TRAILING_WHITESPACE)
separate_arguments(pc UNIX_COMMAND "${pc}")
separate_arguments(flags UNIX_COMMAND "${FLAGS}")
run(${CC} ${flags} ${here}/client_sync.c ${pc} -Wl,-rpath,${prefix}/${LIBDIR} -o ${SCRATCH}/with_pkg_config)
expect_output(${SCRATCH}/with_pkg_config)

# What the library shows: public names only; and each of them is in the manual.
execute_process(COMMAND nm -D --defined-only ${prefix}/${LIBDIR}/libkvclient.so COMMAND_ERROR_IS_FATAL ANY
                OUTPUT_VARIABLE symbols)
file(READ ${prefix}/include/kvclient.h header)
file(GLOB_RECURSE manual ${prefix}/*/libkvclient.3)
file(READ ${manual} manual)
string(REGEX MATCHALL " T [a-z_0-9]+" functions "${symbols}")
list(LENGTH functions count)
if(count LESS 60)
  message(FATAL_ERROR "libkvclient shows only: ${functions}")
endif()
foreach(function IN LISTS functions)
  string(REPLACE " T " "" function ${function})
  if(NOT header MATCHES "[ *]${function}\\(")
    message(FATAL_ERROR "libkvclient shows ${function}, which kvclient.h does not declare")
  endif()
  if(NOT manual MATCHES "[.]F[no] ${function}[ \n]")
    message(FATAL_ERROR "libkvclient.3 says nothing of ${function}")
  endif()
endforeach()

if(CXX)
  file(WRITE ${SCRATCH}/header.cc
       "#include <kvclient.h>\nint main() { return kvc_str(\"\").len == 0 && KVC_OK == 0 ? 0 : 1; }\n")
  run(${CXX} -std=c++17 -Wall -Wextra -Wpedantic -Werror -I${prefix}/include -fsyntax-only ${SCRATCH}/header.cc)
endif()
