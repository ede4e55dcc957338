// destroy_early: semaphores, mutexes and wait_groups are destroyed as soon as their last user may do so, which is while
// the other side is still inside release(), unlock() or done(). A touch after that is a use after free: ASan and TSan
// say so; here the memory is overwritten at once, so that a late write shows in the next object too.
//
// In an exploration (test/conformance/explored_stress_test.cpp) the same, without plain threads.
#pragma once
#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "support/stress.hpp"
#include "weft/sim.hpp"

namespace weft::test::destroy_early {

// From the heap and filled with nonsense at the end.
template <class T>
class brief {
 public:
  template <class... A>
  explicit brief(A... a) : at_(static_cast<unsigned char*>(::operator new(sizeof(T)))) {
    ::new (at_) T(a...);
  }
  brief(const brief&) = delete;
  brief& operator=(const brief&) = delete;
  ~brief() {
    (*this)->~T();
    std::memset(at_, 0x5a, sizeof(T));
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      test::expect(static_cast<volatile unsigned char*>(at_)[i] == 0x5a, "written to after its end");
    }
    ::operator delete(at_);
  }
  T* operator->() const { return std::launder(reinterpret_cast<T*>(at_)); }
  T* get() const { return std::launder(reinterpret_cast<T*>(at_)); }

 private:
  unsigned char* at_;
};

// f(…) on another goroutine or on a plain thread.
template <class F>
void elsewhere(std::vector<std::thread>& threads, bool thread, F f) {
  if (thread) {
    threads.emplace_back(f);
  } else {
    go(f);
  }
}

inline void one(test::random_source& r, std::vector<std::thread>& threads) {
  const bool thread = r.one_in(20) && !sim::active();
  const std::uint32_t delay = r.below(100);
  auto pause = [](std::uint32_t n) {
    for (; n > 0; --n) rt::os::pause();
  };
  switch (r.below(4)) {
    case 0: {
      brief<semaphore> s(0);
      elsewhere(threads, thread, [at = s.get(), delay, pause] {
        pause(delay);
        at->release();
      });
      s->acquire();
      break;
    }
    case 1: {
      // Two waiters; the last to return destroys. Each has its permit from the same release.
      struct pair {
        semaphore s{0};
        std::atomic<int> left{2};
      };
      auto* p = new pair;
      auto waiter = [p] {
        p->s.acquire();
        if (p->left.fetch_sub(1) == 1) delete p;
      };
      go(waiter);
      elsewhere(threads, thread, [p, delay, pause] {
        pause(delay);
        p->s.release(2);
      });
      waiter();
      break;
    }
    case 2: {
      brief<wait_group> wg;
      wg->add(2);
      go([at = wg.get()] { at->done(); });
      elsewhere(threads, thread, [at = wg.get(), delay, pause] {
        pause(delay);
        at->done();
      });
      wg->wait();
      break;
    }
    default: {
      // Locked on behalf of the other side, which unlocks it; whoever gets it next is the last user.
      brief<mutex> m;
      m->lock();
      elsewhere(threads, thread, [at = m.get(), delay, pause] {
        pause(delay);
        at->unlock();
      });
      m->lock();
      m->unlock();
      break;
    }
  }
}

inline void round(random_source& r, int objects_each) {
  wait_group all;
  for (int k = 0; k < 3; ++k) {
    const std::uint64_t seed = r.next_seed();
    all.go([seed, objects_each] {
      random_source mine(seed);
      std::vector<std::thread> threads;
      const auto join = [&] {
        blocking([&] {
          for (std::thread& t : threads) t.join();
        });
        threads.clear();
      };
      for (int i = 0; i < objects_each; ++i) {
        one(mine, threads);
        if (threads.size() >= 8) join();
      }
      join();
    });
  }
  all.wait();
}

}  // namespace weft::test::destroy_early
