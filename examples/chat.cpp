// chat: a room in which everybody hears what anybody says, and nobody waits for one who does not listen.
//
// The room is a goroutine, which alone knows who is in it. Whoever joins, speaks or leaves sends it a message. Each guest is a
// goroutine with an inbox of three lines, which the room fills by try_send: a guest whose inbox is full is put out, and
// nobody else notices. A guest runs under a context of its own. Cancelling it ends the guest wherever it waits, be it by
// its own wish, by the room's, or because the evening is over.
//
// Run     build/release/examples/chat
// Prints  what each of three guests has seen, and how it came to leave
// Go      select with a default case for the inbox; context.WithCancelCause for the guests, each of which would have to look at
//         ctx.Done() wherever it waits.
#include <weft/weft.hpp>

#include <cstdio>
#include <exception>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct seat {
  weft::chan<std::string> inbox{3};
  weft::context ctx;
};

// snippet: room
class room {
 public:
  // Each returns when the room has done it. They never wait for a guest.
  void join(const std::string& name, const seat& at) { ask({request::join, name, at}); }
  void say(const std::string& name, const std::string& words) { ask({request::say, name, {}, words}); }
  void leave(const std::string& name) { ask({request::leave, name}); }
  void close() { requests_.close(); }

  void serve() {
    for (request& r : requests_) {
      if (r.what == request::join) {
        seats_[r.name] = r.at;
        tell("* " + r.name + " has joined");
      } else if (r.what == request::say) {
        tell(r.name + ": " + r.words);
      } else if (seats_.erase(r.name) == 1) {  // else it was put out
        tell("* " + r.name + " has left");
      }
      r.done.close();
    }
  }

 private:
  struct request {
    enum { join, say, leave } what;
    std::string name;
    seat at = {};
    std::string words = {};
    weft::chan<> done = {};
  };
  void ask(request r) {
    const weft::chan<> done = r.done;
    requests_.send(std::move(r));
    done.recv();
  }

  void tell(const std::string& line) {
    std::vector<std::string> news;
    for (auto it = seats_.begin(); it != seats_.end();) {
      const auto& [name, at] = *it;
      if (at.inbox.try_send(line) == weft::chan_status::ok) {
        ++it;
        continue;
      }
      at.ctx.cancel(std::make_exception_ptr(
          std::runtime_error("put out, with " + std::to_string(at.inbox.size()) + " lines unread")));
      news.push_back("* " + name + " does not listen");
      it = seats_.erase(it);
    }
    for (const std::string& each : news) tell(each);
  }

  weft::chan<request> requests_;
  std::map<std::string, seat> seats_;  // the serving goroutine's
};
// snippet: end

struct guest {
  std::string name;
  bool listens = true;
  seat at = {};
  std::vector<std::string> seen = {};
  weft::semaphore lines{0};  // a permit for each line that has been seen
  int awaited = 0;

  // snippet: guest
  void sit_in(room& r) {
    struct leaves {
      room& r;
      const std::string& name;
      ~leaves() { r.leave(name); }  // not interrupted: a goroutine that unwinds is not cancelled once more
    } at_the_end{r, name};
    weft::with(at.ctx, [&] {
      if (!listens) weft::chan<>().recv();  // a connection that hangs
      for (const std::string& line : at.inbox) {
        seen.push_back(line);
        lines.release();
      }
    });
  }
  // snippet: end

  std::string end() const {
    try {
      std::rethrow_exception(at.ctx.cause());
    } catch (const std::exception& e) {
      return e.what();
    }
  }
};

}  // namespace

int main() {
  return weft::run([] {
    const weft::context evening = weft::context::background().with_cancel();
    room r;
    weft::wait_group serving, sitting;
    serving.go([&] { r.serve(); });

    guest ann{"ann"}, bob{"bob"}, carl{"carl", false};
    for (guest* g : {&ann, &bob, &carl}) {
      g->at.ctx = evening.with_cancel();
      r.join(g->name, g->at);
      sitting.go([&r, g] { g->sit_in(r); });
    }
    // Who speaks has seen what was said before, and so has whoever listens.
    const auto after = [](guest& g, int lines) {
      for (; g.awaited < lines; ++g.awaited) g.lines.acquire();
    };
    after(ann, 3), after(bob, 2);
    r.say("ann", "hello");
    after(ann, 4), after(bob, 3);
    r.say("bob", "good evening");
    after(ann, 5), after(bob, 4);
    r.say("ann", "are you there, carl?");
    after(ann, 7), after(bob, 6);
    bob.at.ctx.cancel(std::make_exception_ptr(std::runtime_error("has gone home")));
    after(ann, 8);
    r.say("ann", "good night");
    after(ann, 9);
    evening.cancel();
    sitting.wait();
    r.close();
    serving.wait();

    for (const guest* g : {&ann, &bob, &carl}) {
      std::printf("%s\n", g->name.c_str());
      for (const std::string& line : g->seen) std::printf("  %s\n", line.c_str());
      std::printf("  (%s)\n", g->end().c_str());
    }
  });
}
