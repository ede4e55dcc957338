// macros: the closed list. Each says something that C++ cannot, all are prefixed, none is in a public header.
#pragma once

// Which sanitizer this file is compiled for, the same for g++ and clang. WEFT_MODEL: instrumented for ThreadSanitizer,
// but linked with the checker of test/checker, which follows fences and knows no fibres.
#if defined(__SANITIZE_THREAD__) && !defined(WEFT_MODEL)
#define WEFT_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WEFT_ASAN 1
#endif
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) && !defined(WEFT_MODEL)
#define WEFT_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define WEFT_ASAN 1
#endif
#endif

// Some tool looks for races: deliberate ones (a prefetch by a stale pointer) are left out, and what only assembly does
// is said.
#if defined(WEFT_TSAN) || defined(WEFT_MODEL)
#define WEFT_RACE_DETECTOR 1
#endif

// A function that begins on one stack and ends on another, or never: its entry and exit must not be recorded. (To clang,
// no_sanitize means its accesses only.)
#if defined(WEFT_RACE_DETECTOR) && defined(__clang__)
#define WEFT_UNINSTRUMENTED __attribute__((noinline, no_sanitize("thread"), disable_sanitizer_instrumentation))
#elif defined(WEFT_RACE_DETECTOR)
#define WEFT_UNINSTRUMENTED __attribute__((noinline, no_sanitize("thread")))
#elif defined(WEFT_ASAN)
#define WEFT_UNINSTRUMENTED __attribute__((noinline, no_sanitize("address")))
#else
#define WEFT_UNINSTRUMENTED
#endif
