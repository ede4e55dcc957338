// graceful_shutdown: a server that is asked to stop: it takes nothing new, finishes what it has begun, and gives up on what
// takes too long.
//
// SIGTERM cancels the context that the server runs under; a plain thread waits for the signal, as in any program. Accepting
// unwinds at once. Requests that have begun run under a context of their own, which is cancelled a little later: most
// come to their end before, the one that hangs unwinds then. The program sends itself the signal, so that it always prints
// the same.
//
// Run     build/release/examples/graceful_shutdown
// Prints  accepted 4 requests
//         SIGTERM: no new requests
//         3 requests answered, 1 given up
//         bye
// Go      signal.NotifyContext, and http.Server.Shutdown with a context that has a timeout.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

namespace {

using namespace std::chrono_literals;

constexpr int hangs = 2;  // the request that never ends

struct server {
  weft::chan<int> requests;
  weft::context stop = weft::context::background().with_cancel();     // no new requests
  weft::context give_up = weft::context::background().with_cancel();  // what is left is to end
  std::atomic<int> accepted{0}, answered{0}, given_up{0};

  void handle(int request) {
    try {
      if (request == hangs) weft::chan<>().recv();
      weft::sleep(2ms);
      ++answered;
    } catch (const weft::cancelled&) {
      ++given_up;
      throw;
    }
  }

  // snippet: serve
  void serve() {
    weft::task_group handlers(give_up);
    try {
      weft::with(stop, [&] {
        for (const int request : requests) {
          ++accepted;
          handlers.go([this, request] { handle(request); });
        }
      });
    } catch (const weft::cancelled&) {
      std::puts("SIGTERM: no new requests");
    }
    // Patience, and then an end.
    weft::select(weft::on(weft::async([&] { handlers.wait(); })), weft::after(200ms));
    give_up.cancel();
    handlers.wait();
  }
  // snippet: end
};

}  // namespace

int main() {
  // Before there are threads, which inherit it: nobody but the one that waits for it gets the signal.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  server s;
  std::thread on_signal([&] {
    int got = 0;
    sigwait(&signals, &got);
    s.stop.cancel();
  });
  weft::run([&] {
    weft::wait_group serving;
    serving.go([&] { s.serve(); });
    for (int i = 0; i < 4; ++i) s.requests.send(i);
    while (s.accepted != 4) weft::yield();
    std::printf("accepted %d requests\n", s.accepted.load());
    kill(getpid(), SIGTERM);
    serving.wait();
    std::printf("%d requests answered, %d given up\n", s.answered.load(), s.given_up.load());
  });
  on_signal.join();
  std::puts("bye");
}
