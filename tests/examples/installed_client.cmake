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
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} --component kvclient_library)

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

# README's lines, as they stand there, but for the address.
file(READ ${here}/../../README.md readme)
string(FIND "${readme}" "#include <kvclient.h>" start)
string(SUBSTRING "${readme}" ${start} -1 lines)
string(FIND "${lines}" "```" end)
string(SUBSTRING "${lines}" 0 ${end} lines)
string(REPLACE "#include <kvclient.h>\n" "" lines "${lines}")
string(REPLACE "\"redis://127.0.0.1:6379\"" "argv[argc - 1]" lines "${lines}")
file(WRITE ${SCRATCH}/readme.c "#include <err.h>\n#include <kvclient.h>\n#include <stdio.h>\n
int main(int argc, char **argv)\n{\n${lines}\nreturn 0;\n}\n")
run(${CC} ${flags} -Wall -Wextra -Werror ${SCRATCH}/readme.c ${pc} -Wl,-rpath,${prefix}/${LIBDIR} -o ${SCRATCH}/readme)
set(expected "Ada\n")
expect_output(${SCRATCH}/readme)

# libkvclient_store, with the engine: its example needs no server.
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} --component kvstore)
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} --component kvstore_library)
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} --component kvclient_store)
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} --component kvclient_store_library)
run(${CMAKE_COMMAND} -S ${here}/store_consumer -B ${SCRATCH}/store_consumer -D CMAKE_PREFIX_PATH=${prefix}
    -D CMAKE_C_COMPILER=${CC} "-D CMAKE_C_FLAGS=${FLAGS}")
run(${CMAKE_COMMAND} --build ${SCRATCH}/store_consumer)
execute_process(COMMAND pkg-config --cflags --libs kvclient_store COMMAND_ERROR_IS_FATAL ANY OUTPUT_VARIABLE pc
                OUTPUT_STRIP_TRAILING_WHITESPACE)
separate_arguments(pc UNIX_COMMAND "${pc}")
run(${CC} ${flags} ${here}/client_store.c ${pc} -Wl,-rpath,${prefix}/${LIBDIR} -o ${SCRATCH}/store_with_pkg_config)
foreach(program store_consumer/with_shared store_consumer/with_static store_with_pkg_config)
  execute_process(COMMAND ${SCRATCH}/${program} COMMAND_ERROR_IS_FATAL ANY OUTPUT_VARIABLE said)
  if(NOT said STREQUAL "visit 42\n")
    message(FATAL_ERROR "${program} said: ${said}")
  endif()
endforeach()

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
list(REMOVE_ITEM functions " T kvc_open_engine") # for libkvclient_store alone
foreach(function IN LISTS functions kvc_open_store)
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
