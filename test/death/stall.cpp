// Goroutines that make no call of the runtime for long, in the way that argv[1] names. What the runtime says of them goes
// through a pipe on its way to stderr, so that the program knows when it has been said. Run by stall_test.cpp.
#include <alloca.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <weft/weft.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace mill {

using namespace std::chrono_literals;

std::atomic<int> reports{0};
int pipe_of_work[2];

// Stands between the process and its stderr.
class listener {
 public:
  listener() : real_(::dup(2)) {
    int ends[2];
    if (real_ < 0 || ::pipe(ends) != 0 || ::dup2(ends[1], 2) != 2) std::_Exit(97);
    ::close(ends[1]);
    thread_ = std::thread([this, from = ends[0]] { listen(from); });
  }
  ~listener() {
    ::dup2(real_, 2);
    thread_.join();
  }

 private:
  void listen(int from) {
    std::string all;
    char some[4096];
    for (ssize_t n = 0; (n = ::read(from, some, sizeof some)) > 0;) {
      const std::string_view text(some, static_cast<std::size_t>(n));
      if (::write(real_, text.data(), text.size()) < 0) std::_Exit(97);
      all += text;
      int found = 0;
      for (std::size_t at = 0; (at = all.find(" has made no call of the runtime for ", at)) != std::string::npos;
           ++at) {
        ++found;
      }
      reports.store(found);
    }
    ::close(from);
  }

  int real_;
  std::thread thread_;
};

// No loop that the compiler may end, and no call.
[[gnu::noinline]] void grind_until(int n) {
  while (reports.load() < n) asm volatile("" ::: "memory");
}

void grind_for(std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) asm volatile("" ::: "memory");
}

// A frame whose size is not known before: the compiler keeps it by the frame pointer.
[[gnu::noinline]] void wait_for_work(std::size_t bytes) {
  auto* room = static_cast<char*>(alloca(bytes));
  std::memset(room, 0, bytes);
  asm volatile("" ::"r"(room) : "memory");
  errno = 0;
  const ssize_t n = ::read(pipe_of_work[0], room, 1);
  std::printf("read %zd, errno %d\n", n, n < 0 ? errno : 0);
}

[[gnu::noinline]] void grind_deep_down(int depth) {
  volatile char room[200];
  room[0] = static_cast<char>(depth);
  if (depth == 0) {
    grind_until(1);
  } else {
    grind_deep_down(depth - 1);
  }
  asm volatile("" ::"r"(&room[0]) : "memory");  // no tail call
}

// As in a program that is built without optimisation: every frame is kept by the frame pointer, calls go by a table, and what
// earlier calls have left on the stack is not overwritten.
#if defined(__clang__)
#define UNOPTIMISED [[clang::optnone]]
#else
#define UNOPTIMISED [[gnu::optimize("O0", "no-omit-frame-pointer")]]
#endif

struct counter {
  virtual ~counter() = default;
  virtual void serve(int queue) = 0;
};

struct desk : counter {
  UNOPTIMISED void serve(int queue) override {
    char room[300];
    if (queue != 0) {
      serve(queue - 1);
    } else if (::read(pipe_of_work[0], room, 1) != 1) {
      std::_Exit(97);
    }
  }
};

UNOPTIMISED void litter(int depth) {
  volatile char room[500];
  room[0] = static_cast<char>(depth);
  if (depth != 0) litter(depth - 1);
  std::snprintf(const_cast<char*>(room), sizeof room, "%d", depth);
}

UNOPTIMISED void open_counter(counter& at) {
  litter(5);
  at.serve(3);
}

// Work comes once the goroutine that waits for it has been reported.
std::thread bring_work(int after) {
  return std::thread([after] {
    while (reports.load() < after) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (::write(pipe_of_work[1], "x", 1) != 1) std::_Exit(97);
  });
}

// What a container may do.
void refuse_perf() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_perf_event_open, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{sizeof code / sizeof code[0], code};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    std::_Exit(97);
  }
}

template <class F>
void go_and_wait(std::string_view name, F f) {
  weft::wait_group done;
  done.add(1);
  weft::go(weft::attrs{.name = name}, [&, f] {
    f();
    done.done();
  });
  done.wait();
}

// That the watch would have said something.
void control() {
  const int before = reports.load();
  go_and_wait("control", [=] { grind_until(before + 1); });
}

int run(std::string_view how) {
  if (how == "spin") {
    go_and_wait("miller", [] {
      grind_until(1);
      grind_for(std::chrono::milliseconds(600));  // the same stretch still
    });
  } else if (how == "main") {
    grind_until(1);
  } else if (how == "deep") {
    go_and_wait("miller", [] { grind_deep_down(300); });
  } else if (how == "again") {
    go_and_wait("miller", [] {
      grind_until(1);
      weft::yield();
      grind_until(2);
    });
  } else if (how == "read") {
    std::thread friendly = bring_work(1);
    go_and_wait("clerk", [] { wait_for_work(100 + static_cast<std::size_t>(::getpid() % 2)); });
    friendly.join();
  } else if (how == "unoptimised") {
    std::thread friendly = bring_work(1);
    go_and_wait("clerk", [] {
      desk at;
      open_counter(at);
    });
    friendly.join();
  } else if (how == "sleep") {
    go_and_wait("sleeper", [] { std::printf("%u s are left\n", ::sleep(3)); });
  } else if (how == "detached") {
    std::atomic<int> ticks{0};
    std::atomic<bool> over{false};
    weft::go([&] {
      while (!over.load()) {
        weft::sleep(1ms);
        ++ticks;
      }
    });
    go_and_wait("miller", [&] {
      while (ticks.load() < 20) asm volatile("" ::: "memory");  // others run: the P is gone
      grind_until(1);
    });
    std::thread friendly = bring_work(2);
    go_and_wait("clerk", [&] { wait_for_work(200); });
    friendly.join();
    over.store(true);
  } else if (how == "polls") {
    go_and_wait("poller", [] {
      while (reports.load() < 1) ::usleep(500);
    });
  } else if (how == "deadlock") {
    weft::semaphore(0).acquire();
  } else if (how == "blocking") {
    weft::blocking([] { ::usleep(600'000); });
    std::printf("%d reports\n", reports.load());
    control();
  } else if (how == "calls") {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(2500);
    while (std::chrono::steady_clock::now() < end) {
      ::getppid();
      weft::yield();
    }
    std::printf("%d reports\n", reports.load());
    control();
  } else if (how == "refused") {
    go_and_wait("miller", [] { grind_until(1); });
    std::thread friendly = bring_work(2);
    go_and_wait("clerk", [] { wait_for_work(200); });
    friendly.join();
  } else if (how == "many") {
    weft::wait_group done;
    for (int i = 0; i < 40; ++i) {
      done.add(1);
      weft::go([&] {
        wait_for_work(100);
        done.done();
      });
    }
    std::thread friendly([] {
      while (reports.load() < 40) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const std::string work(40, 'x');
      if (::write(pipe_of_work[1], work.data(), work.size()) != 40) std::_Exit(97);
    });
    done.wait();
    friendly.join();
  } else {
    return 99;
  }
  return 0;
}

}  // namespace mill

int main(int argc, char** argv) {
  const std::string_view how = argc > 1 ? argv[1] : "";
  if (::pipe(mill::pipe_of_work) != 0) return 97;
  int status = 0;
  {
    // A thread that listens could wake somebody, for all that the runtime knows.
    const auto hears = how != "deadlock" ? std::make_unique<mill::listener>() : nullptr;
    if (how == "refused") mill::refuse_perf();
    status = weft::run(weft::options::from_env(), [&] { return mill::run(how); });
  }
  std::printf("%d in all\n", mill::reports.load());
  return status;
}
