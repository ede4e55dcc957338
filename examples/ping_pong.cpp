// ping_pong: two goroutines and a ball.
//
// The table is two channels without a buffer, one for each direction. A send on such a channel returns when the other side
// has the ball, so there is never more than one, and who receives it sees all that was done to it before: the ball needs no
// lock. Who has had enough closes the channel, which is how a receiver learns that nothing will come any more.
//
// Run     build/release/examples/ping_pong
// Prints  ping 1
//         pong 2
//         … to 10, then
//         ping keeps the ball: 10 strokes, 5 of them pongs
// Go      func player(in <-chan *ball, out chan<- *ball, …) { for b := range in { …; out <- b }; close(out) }
#include <weft/weft.hpp>

#include <cstdio>
#include <memory>
#include <utility>

namespace {

struct ball {
  int strokes = 0;
  int pongs = 0;
};

constexpr int rally = 10;

// A ball is handed over whole: a unique_ptr is moved through the channel, and nobody else can have it meanwhile.
using to_me = weft::recv_chan<std::unique_ptr<ball>>;
using to_you = weft::send_chan<std::unique_ptr<ball>>;

// The half of the table that this player needs, and no more: it cannot send to itself.
void pong(const to_me& in, const to_you& out) {
  for (std::unique_ptr<ball>& b : in) {
    std::printf("pong %d\n", ++b->strokes);
    ++b->pongs;
    out.send(std::move(b));
  }
  out.close();
}

}  // namespace

int main() {
  return weft::run([] {
    const weft::chan<std::unique_ptr<ball>> there, back;
    // The handles are copied into the goroutine, so it does not matter who ends first.
    weft::go([in = to_me(there), out = to_you(back)] { pong(in, out); });

    auto served = std::make_unique<ball>();
    while (served->strokes < rally) {
      std::printf("ping %d\n", ++served->strokes);
      there.send(std::move(served));
      served = *back.recv();
    }
    there.close();
    const bool table_is_empty = !back.recv();  // the other one has seen it, and closed its side
    std::printf("ping keeps the ball: %d strokes, %d of them pongs\n", served->strokes, served->pongs);
    return table_is_empty ? 0 : 1;
  });
}
