#include "stalls/kinds.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <regex>
#include <thread>

#include "weft/weft.hpp"

namespace stalls {
namespace {

using namespace std::chrono_literals;

[[noreturn]] void broken(const char* what) {
  std::perror(what);
  std::_Exit(3);
}

class pipe_of_bytes {
 public:
  pipe_of_bytes() {
    if (::pipe2(fds_, O_CLOEXEC) != 0) broken("pipe");
  }
  ~pipe_of_bytes() {
    ::close(fds_[0]);
    ::close(fds_[1]);
  }
  pipe_of_bytes(const pipe_of_bytes&) = delete;
  pipe_of_bytes& operator=(const pipe_of_bytes&) = delete;

  int read_end() const { return fds_[0]; }
  bool read_one() const {
    char c = 0;
    return ::read(fds_[0], &c, 1) == 1;
  }
  void write(int n) const {
    const std::string bytes(static_cast<std::size_t>(n), 'x');
    if (::write(fds_[1], bytes.data(), bytes.size()) != n) broken("write");
  }

 private:
  int fds_[2];
};

// ---- asleep in the kernel

class in_read : public kind {
  void stall() override {
    if (!pipe_.read_one()) count_if(errno == EINTR);
  }
  void release(int n) override { pipe_.write(n); }
  pipe_of_bytes pipe_;
};

class in_sleep : public kind {
  void stall() override {
    while (!over()) count_if(::sleep(1) != 0);
  }
};

class in_poll : public kind {
  void stall() override {
    pollfd fd{pipe_.read_end(), POLLIN, 0};
    if (::poll(&fd, 1, -1) != 1) count_if(errno == EINTR);
  }
  void release(int) override { pipe_.write(1); }  // nobody reads it: all see it
  pipe_of_bytes pipe_;
};

class in_flock : public kind {
 public:
  in_flock() : mine_(::mkstemp(path_)) {
    if (mine_ < 0 || ::flock(mine_, LOCK_EX) != 0) broken("flock");
  }
  ~in_flock() override {
    ::close(mine_);
    ::unlink(path_);
  }

 private:
  void stall() override {
    const int fd = ::open(path_, O_RDWR | O_CLOEXEC);
    if (fd < 0) broken("open");
    if (::flock(fd, LOCK_EX) != 0) count_if(errno == EINTR);
    ::close(fd);
  }
  void release(int) override { ::flock(mine_, LOCK_UN); }
  char path_[32] = "/tmp/weft_stalls_XXXXXX";
  int mine_;
};

// The holder is a goroutine too, which waits while it holds the lock. A std::mutex belongs to a thread: so does the holder.
class in_std_mutex : public kind {
 public:
  explicit in_std_mutex(bool pinned) : pinned_(pinned) {}

 private:
  void prepare(int) override {
    weft::chan<> held;
    holder_.go([this, held] {
      if (pinned_) weft::lock_os_thread();
      mutex_.lock();
      held.close();
      while (!over()) weft::sleep(1ms);
      mutex_.unlock();
      if (pinned_) weft::unlock_os_thread();
    });
    held.recv();
  }
  void stall() override { const std::lock_guard<std::mutex> hold(mutex_); }
  void release(int) override { holder_.wait(); }

  bool pinned_;
  std::mutex mutex_;
  weft::wait_group holder_;
};

class in_condition_variable : public kind {
  void stall() override {
    std::unique_lock<std::mutex> hold(mutex_);
    signal_.wait(hold, [this] { return over(); });
  }
  void release(int) override {
    const std::lock_guard<std::mutex> hold(mutex_);
    signal_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable signal_;
};

class in_pthread_join : public kind {
  void stall() override {
    std::thread([this] {
      if (!pipe_.read_one()) count_if(errno == EINTR);
    }).join();
  }
  void release(int n) override { pipe_.write(n); }
  pipe_of_bytes pipe_;
};

class in_system : public kind {
  void stall() override {
    do {
      if (std::system("sleep 1") == -1) count_if(errno == EINTR);
    } while (!over());
  }
};

// ---- in foreign code, now here, now in the kernel

// From /etc/hosts: no network.
class in_getaddrinfo : public kind {
  void stall() override {
    while (!over()) {
      addrinfo* found = nullptr;
      const int err = ::getaddrinfo("localhost", nullptr, nullptr, &found);
      if (err == 0) {
        ::freeaddrinfo(found);
      } else if (err == EAI_SYSTEM) {
        count_if(errno == EINTR);
      }
    }
  }
};

class in_short_calls : public kind {
  void stall() override {
    const int zero = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
    if (zero < 0) broken("/dev/zero");
    char c = 0;
    while (!over()) {
      if (::read(zero, &c, 1) != 1) count_if(errno == EINTR);
    }
    ::close(zero);
  }
};

// Each time somebody looks the thread sleeps, and each time it is another sleep.
class in_short_sleeps : public kind {
  void stall() override {
    const timespec t{0, 20'000};
    while (!over()) count_if(::clock_nanosleep(CLOCK_MONOTONIC, 0, &t, nullptr) == EINTR);
  }
};

// ---- busy

class in_a_busy_loop : public kind {
  void stall() override {
    volatile unsigned x = 0;
    while (!over()) {
      for (unsigned i = 0; i < 10'000'000; ++i) x = x + i;
    }
  }
};

// Each letter more doubles what the match takes.
class in_regex : public kind {
  void stall() override {
    const std::regex all_as("(a|a)*b");
    for (std::size_t n = 4; !over(); ++n) {
      if (std::regex_match(std::string(n, 'a'), all_as)) broken("a match");
    }
  }
};

// A goroutine that has not run yet must set it.
class on_a_flag : public kind {
  void stall() override {
    while (!flag_.load(std::memory_order_acquire)) {
    }
  }
  void release(int) override {
    weft::go([this] { flag_.store(true, std::memory_order_release); });
  }
  std::atomic<bool> flag_{false};
};

// ---- calls of the runtime that never wait

class in_try_send : public kind {
  void prepare(int) override { full_.send(0); }
  void stall() override {
    while (!over()) static_cast<void>(full_.try_send(1));
  }
  weft::chan<int> full_{1};
};

class in_lock : public kind {
  void stall() override {
    weft::mutex mine;
    while (!over()) {
      mine.lock();
      mine.unlock();
    }
  }
};

class in_buffered : public kind {
  void stall() override {
    const weft::chan<int> c(16);
    while (!over()) {
      c.send(1);
      c.recv();
    }
  }
};

// Whoever starts them must give way to those it has started, or they fill the memory.
class in_go : public kind {
  void stall() override {
    for (unsigned i = 1; !over(); ++i) {
      weft::go([] {});
      if (i % 4096 == 0 && weft::num_goroutine() > too_many) {
        std::fprintf(stderr, "%d goroutines wait while others are being started\n", weft::num_goroutine());
        std::_Exit(3);
      }
    }
  }
  static constexpr int too_many = 5'000'000;
};

// Each finds its partner in runnext.
class in_ping_pong : public kind {
  void stall() override {
    const weft::chan<> to, fro;
    weft::wait_group partner;
    partner.go([=] {
      while (to.recv()) fro.send();
    });
    while (!over()) {
      to.send();
      fro.recv();
    }
    to.close();
    partner.wait();
  }
};

template <class K>
std::unique_ptr<kind> make() {
  return std::make_unique<K>();
}

}  // namespace

const std::vector<row>& table() {
  static const std::vector<row> rows{
      {"read", make<in_read>},
      {"sleep", make<in_sleep>},
      {"poll", make<in_poll>},
      {"flock", make<in_flock>},
      {"getaddrinfo", make<in_getaddrinfo>, 200, 1u << 20},
      {"std_mutex", [] { return std::unique_ptr<kind>(std::make_unique<in_std_mutex>(true)); }},
      {"std_mutex_of_a_wanderer", [] { return std::unique_ptr<kind>(std::make_unique<in_std_mutex>(false)); }},
      {"condition_variable", make<in_condition_variable>},
      {"pthread_join", make<in_pthread_join>},
      {"system", make<in_system>},
      {"busy_loop", make<in_a_busy_loop>},
      {"regex", make<in_regex>, 200, 1u << 20},
      {"short_calls", make<in_short_calls>, 1000},
      {"short_sleeps", make<in_short_sleeps>, 1000},
      {"try_send", make<in_try_send>},
      {"lock", make<in_lock>},
      {"buffered", make<in_buffered>},
      {"go", make<in_go>},
      {"ping_pong", make<in_ping_pong>},
      {"flag", make<on_a_flag>},
  };
  return rows;
}

const row* find(const std::string& name) {
  for (const row& r : table()) {
    if (name == r.name) return &r;
  }
  return nullptr;
}

}  // namespace stalls
