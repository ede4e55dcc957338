// Ends by an exception that nobody catches, in the way that argv[1] names. Run by uncaught_test.cpp.
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>
#include <unwind.h>
#include <weft/weft.hpp>

#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

#define KEEP [[gnu::noinline, gnu::noipa]]  // so that the report has these functions by name
#ifdef __clang__
#undef KEEP
#define KEEP [[gnu::noinline]]
#endif

namespace shop {

struct out_of_stock {
  int item = 0;
};
template <class A, class B>
struct order_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct silent_nested : std::nested_exception {};

volatile int never = 0;

KEEP void fail_with_runtime_error() {
  if (never == 0) throw std::runtime_error("the disk is full");
}
KEEP void upload() {
  fail_with_runtime_error();
  never = 0;
}
KEEP void fail_with_int() {
  if (never == 0) throw 42;
}
KEEP void fail_with_long() {
  if (never == 0) throw -7L;
}
KEEP void fail_with_text() {
  if (never == 0) throw "plain words";
}
KEEP void fail_with_string() {
  if (never == 0) throw std::string("a\nb");
}
KEEP void fail_with_custom() {
  if (never == 0) throw out_of_stock{3};
}
KEEP void fail_with_template() {
  if (never == 0) throw order_error<std::string, out_of_stock>("odd");
}
KEEP void fail_nested() {
  try {
    try {
      fail_with_runtime_error();
    } catch (...) {
      std::throw_with_nested(std::logic_error("cannot write the file"));
    }
  } catch (...) {
    std::throw_with_nested(std::runtime_error("cannot save the order"));
  }
}
KEEP void fail_nested_silent() {
  try {
    fail_with_int();
  } catch (...) {
    throw silent_nested();
  }
}
KEEP void fail_deep_nested(int n) {
  try {
    if (n == 0) fail_with_runtime_error();
    if (n > never) fail_deep_nested(n - 1);
  } catch (...) {
    std::throw_with_nested(std::runtime_error("level " + std::to_string(n)));
  }
}
KEEP void promise_not_to_throw() noexcept {
  fail_with_runtime_error();
  never = 0;
}
KEEP void rethrow_later() {
  std::exception_ptr kept;
  try {
    fail_with_runtime_error();
  } catch (...) {
    kept = std::current_exception();
  }
  std::rethrow_exception(kept);
}
KEEP void rethrow_now() {
  try {
    fail_with_runtime_error();
  } catch (...) {
    throw;
  }
}

struct throws_at_end {
  KEEP ~throws_at_end() noexcept(false) {
    fail_with_int();
    never = 0;  // no tail call
  }
};
KEEP void throw_while_unwinding() {
  const throws_at_end guard;
  fail_with_runtime_error();
}
// Only an exception that somebody catches unwinds anything.
KEEP void catch_what_unwinds() {
  try {
    throw_while_unwinding();
  } catch (const std::runtime_error&) {
    never = 0;
  }
}

KEEP void drop_joinable_thread() {
  std::thread t([] {});
}

// What another language throws: an exception class that C++ does not know.
KEEP void foreign_through_noexcept() noexcept {
  static _Unwind_Exception e{};
  std::memcpy(&e.exception_class, "SHOPTEST", 8);
  e.exception_cleanup = [](_Unwind_Reason_Code, _Unwind_Exception*) {};
  _Unwind_RaiseException(&e);
}
KEEP void foreign_caught_and_ended() {
  try {
    static _Unwind_Exception e{};
    std::memcpy(&e.exception_class, "SHOPTEST", 8);
    e.exception_cleanup = [](_Unwind_Reason_Code, _Unwind_Exception*) {};
    _Unwind_RaiseException(&e);
  } catch (...) {
    std::terminate();
  }
}
// What unwinds a goroutine, thrown by hand.
template <class Thrown>
KEEP void unwind_by() {
  if (never == 0) throw Thrown();
}
struct with_cleanup {
  KEEP ~with_cleanup() { never = 0; }
};
template <class Thrown>
KEEP void unwind_through_cleanups() {
  const with_cleanup first;
  unwind_by<Thrown>();
  never = 0;
}
template <class Thrown>
KEEP void passes_on() {
  try {
    unwind_through_cleanups<Thrown>();
  } catch (const std::exception&) {
    never = 0;
  }
}
template <class Thrown>
KEEP void close_account() noexcept {
  passes_on<Thrown>();
  never = 0;
}
struct closes_at_end {
  KEEP ~closes_at_end() {
    unwind_by<weft::cancelled>();
    never = 0;
  }
};
KEEP void cancelled_in_destructor() {
  const closes_at_end guard;
  never = 0;
}
KEEP void terminate_when_cancelled() {
  try {
    unwind_by<weft::cancelled>();
  } catch (const weft::cancelled&) {
    std::terminate();
  }
}

KEEP void pthread_exit_through_noexcept() noexcept { pthread_exit(nullptr); }

KEEP int deep(int n) {
  if (n == 0) upload();
  if (n < never) return 0;
  const int r = deep(n - 1);
  never = 0;
  return r;
}

KEEP void start_child() {
  weft::go(weft::attrs{.name = "grandchild"}, [] { upload(); });
  weft::yield();
}

KEEP void borrow_and_upload() {
  weft::on_big_stack([] { upload(); });
  never = 0;
}

void on_goroutine(void (*f)()) {
  weft::go(weft::attrs{.name = "uploader"}, [f] {
    f();
    never = 0;
  });
}

[[noreturn]] void own_handler() {
  std::fputs("own terminate handler\n", stderr);
  std::_Exit(7);
}

}  // namespace shop

int main(int argc, char** argv) {
  using namespace shop;
  const std::string name = argc > 1 ? argv[1] : "";
  struct {
    const char* name;
    void (*fail)();
  } const table[] = {
      {"std", upload},
      {"int", fail_with_int},
      {"long", fail_with_long},
      {"text", fail_with_text},
      {"string", fail_with_string},
      {"custom", fail_with_custom},
      {"template", fail_with_template},
      {"nested", fail_nested},
      {"nested_silent", fail_nested_silent},
      {"nested_deep", [] { fail_deep_nested(40); }},
      {"noexcept", promise_not_to_throw},
      {"rethrow_later", rethrow_later},
      {"rethrow_now", rethrow_now},
      {"unwinding", catch_what_unwinds},
      {"joinable", drop_joinable_thread},
      {"foreign_noexcept", foreign_through_noexcept},
      {"foreign_caught", foreign_caught_and_ended},
      {"cancelled", close_account<weft::cancelled>},
      {"exit", close_account<weft::detail::goexit_unwind>},
      {"cancelled_destructor", cancelled_in_destructor},
      {"cancelled_terminate", terminate_when_cancelled},
      {"pthread_exit", pthread_exit_through_noexcept},
      {"deep", [] { deep(300); }},
      {"big_stack", borrow_and_upload},
  };
  for (const auto& row : table) {
    if (name == row.name) return weft::run([&] { on_goroutine(row.fail); });
  }
  if (name == "small_stack") {
    return weft::run([] { weft::go(weft::attrs{.name = "little", .stack_size = 16 << 10}, [] { fail_nested(); }); });
  }
  if (name == "no_name") return weft::run([] { weft::go([] { upload(); }); });
  if (name == "grandchild") return weft::run([] { weft::go([] { start_child(); }); });
  if (name == "no_fork") {
    // A user with no right to any further process. Root has no such limit.
    return weft::run([] {
      if (setresuid(65534, 65534, 65534) != 0) std::_Exit(77);
      const rlimit none{1, 1};
      setrlimit(RLIMIT_NPROC, &none);
      on_goroutine(upload);
      return 0;
    });
  }
  if (name == "in_catch") {
    // The exception of the catch block is not the one that ends the goroutine.
    return weft::run([] {
      weft::go([] {
        try {
          fail_with_int();
        } catch (int) {
          upload();
        }
      });
    });
  }
  if (name == "several") {
    return weft::run([] {
      for (int i = 0; i < 8; ++i) weft::go([] { upload(); });
    });
  }
  if (name == "main") {
    try {
      weft::run([] { upload(); });
    } catch (const std::runtime_error& e) {
      std::printf("caught: %s\n", e.what());
      return 0;
    }
    return 1;
  }
  if (name == "main_uncaught") {
    weft::run([] { upload(); });
    return 1;
  }
  if (name == "main_noexcept") return weft::run([] { promise_not_to_throw(); });
  if (name == "own_handler") {
    return weft::run([] {
      weft::go([] {
        std::set_terminate(own_handler);
        upload();
      });
    });
  }
  if (name == "thread_before") {
    // Not on a goroutine: what was there before weft decides.
    std::set_terminate(own_handler);
    weft::run([] {});
    std::thread([] { upload(); }).join();
  }
  if (name == "thread") {
    weft::run([] {});
    std::thread([] { upload(); }).join();
  }
  std::fprintf(stderr, "unknown case '%s'\n", name.c_str());
  return 99;
}
