// cancel_tree: contexts handed down a tree of work, and what ends with what.
//
// A request has a context; its parts have children of it. A part that times out ends alone. A part that gives up ends with all
// below it, for a reason that they can read. When the request is cancelled, whatever is left of it ends. Values, such
// as the number of the request, are seen everywhere below. Goroutines do not look at any of this: inside weft::with, each call
// that would wait unwinds once the context has ended.
//
// Run     build/release/examples/cancel_tree
// Prints  request 7: three parts
//         search: context deadline exceeded
//         fetch/b: not needed any more
//         fetch/a: not needed any more
//         request: still open
//         log: request cancelled by its client
//         request: context canceled
// Go      context.WithValue, WithTimeout, WithCancelCause, Cause; and in each goroutine a select with ctx.Done().
#include <weft/weft.hpp>

#include <any>
#include <chrono>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

namespace {

using namespace std::chrono_literals;

std::string why(const weft::context& c) {
  if (!c.err()) return "still open";
  try {
    std::rethrow_exception(c.cause());
  } catch (const std::exception& e) {
    return e.what();
  }
}

// snippet: part
// A part of the work: does nothing but wait, until its context ends.
void part(const weft::context& ctx, const char* name, const weft::chan<>& ended) {
  struct report {
    const weft::context& ctx;
    const char* name;
    const weft::chan<>& ended;
    ~report() {
      std::printf("%s: %s\n", name, why(ctx).c_str());
      ended.send();  // while it unwinds: this wait is not cut short
    }
  } const at_the_end{ctx, name, ended};
  weft::with(ctx, [] { weft::chan<int>().recv(); });
}
// snippet: end

}  // namespace

int main() {
  return weft::run([] {
    const weft::context request = weft::context::background().with_value("request", 7).with_cancel();
    const weft::context search = request.with_timeout(5ms);
    const weft::context fetch = request.with_cancel();
    std::printf("request %d: three parts\n", std::any_cast<int>(search.value("request")));
    const weft::chan<> ended;
    const auto start = [&ended](const weft::context& ctx, const char* name) {
      weft::go([ctx, name, ended] { part(ctx, name, ended); });
    };
    start(search, "search");
    ended.recv();

    const weft::context b = fetch.with_cancel();
    start(b, "fetch/b");
    fetch.cancel(std::make_exception_ptr(std::runtime_error("not needed any more")));
    ended.recv();
    start(fetch.with_cancel(), "fetch/a");  // born cancelled
    ended.recv();
    std::printf("request: %s\n", why(request).c_str());

    start(request, "log");
    weft::yield();
    request.cancel(std::make_exception_ptr(std::runtime_error("request cancelled by its client")));
    ended.recv();
    std::printf("request: %s\n", request.err().message().c_str());
  });
}
