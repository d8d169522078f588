# Compiler and linker flags, in one place.
#
#   quarry_flags       warnings, language: everything written here
#   quarry_lib_flags   code that becomes the allocator
#   quarry_sanitized   what QUARRY_SANITIZE asks for (never put on the preloadable library)

add_library(quarry_flags INTERFACE)
target_compile_features(quarry_flags INTERFACE c_std_17)
target_compile_options(quarry_flags INTERFACE
  $<$<COMPILE_LANGUAGE:C>:-std=gnu17>
  -Wall -Wextra -Wshadow -Wvla
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>
  $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
  $<$<BOOL:${QUARRY_WERROR}>:-Werror>)
target_compile_definitions(quarry_flags INTERFACE _GNU_SOURCE= QUARRY_VERSION="${PROJECT_VERSION}")

add_library(quarry_lib_flags INTERFACE)
target_compile_options(quarry_lib_flags INTERFACE
  -ffunction-sections -fPIC -fno-plt -fvisibility=hidden -ftls-model=initial-exec -fno-semantic-interposition
  # The compiler must not take these for the library functions that they implement.
  -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free
  # A block's memory is a user's type one moment and a list link the next.
  -fno-strict-aliasing)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64|i.86)$")
  target_compile_options(quarry_lib_flags INTERFACE -fcf-protection=none)
endif()
target_compile_definitions(quarry_lib_flags INTERFACE
  $<$<BOOL:${QUARRY_CHECK}>:QY_CHECK=1> $<$<BOOL:${QUARRY_DEBUG}>:QY_DEBUG=1>)

add_library(quarry_sanitized INTERFACE)
if(QUARRY_SANITIZE)
  target_compile_options(quarry_sanitized INTERFACE
    -fsanitize=${QUARRY_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
    $<$<C_COMPILER_ID:GNU>:-Wno-stringop-overflow>) # gcc takes the branch in which a pointer was found null for one that goes on
  target_link_options(quarry_sanitized INTERFACE -fsanitize=${QUARRY_SANITIZE})
endif()

# The presets choose the optimisation; this is for those who use no preset.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
foreach(lang C CXX)
  set(CMAKE_${lang}_FLAGS_RELWITHDEBINFO "-O2 -g")
  set(CMAKE_${lang}_FLAGS_DEBUG "-Og -g3")
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU") # at -Og it does not see that a value is used only where it was set
    string(APPEND CMAKE_${lang}_FLAGS_DEBUG " -Wno-maybe-uninitialized")
  endif()
  if(CMAKE_C_COMPILER_ID STREQUAL "Clang") # valgrind 3.19 cannot read clang's DWARF 5
    string(APPEND CMAKE_${lang}_FLAGS_RELWITHDEBINFO " -gdwarf-4")
    string(APPEND CMAKE_${lang}_FLAGS_DEBUG " -gdwarf-4")
  endif()
endforeach()
