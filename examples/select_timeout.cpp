// select_timeout: asking somebody who may not answer in time.
//
// after(d) is a case of a select like any other, and leaves nothing behind when another case happens. It begins anew with each
// select; a time limit for several of them together is a timer, whose channel is a case too. The answer's channel has room for
// one, so whoever answers too late does not wait for ever for somebody who has gone.
//
// Run     build/release/examples/select_timeout
// Prints  quick: 42
//         slow: no answer
//         together: 3 answers, then time was up
// Go      select { case v := <-ask(…): … case <-time.After(d): … }
#include <weft/weft.hpp>

#include <chrono>
#include <cstdio>
#include <optional>

namespace {

using namespace std::chrono_literals;

// snippet: ask
weft::recv_chan<int> ask(int answer, std::chrono::milliseconds takes) {
  const weft::chan<int> reply(1);
  weft::go([reply, answer, takes] {
    weft::sleep(takes);
    reply.send(answer);
  });
  return reply;
}

void ask_within(const char* whom, std::chrono::milliseconds takes, std::chrono::milliseconds patience) {
  const weft::recv_chan<int> reply = ask(42, takes);
  std::optional<int> answer;
  switch (weft::select(weft::recv(reply, answer), weft::after(patience))) {
    case 0: std::printf("%s: %d\n", whom, *answer); break;
    case 1: std::printf("%s: no answer\n", whom); break;
  }
}
// snippet: end

// snippet: deadline
void ask_often(std::chrono::milliseconds altogether) {
  const weft::timer limit(altogether);
  int answers = 0;
  while (weft::select(weft::recv(ask(1, answers < 3 ? 1ms : 10min)), weft::recv(limit.channel())) == 0) ++answers;
  std::printf("together: %d answers, then time was up\n", answers);
}
// snippet: end

}  // namespace

int main() {
  return weft::run([] {
    ask_within("quick", 1ms, 10min);
    ask_within("slow", 10min, 20ms);
    ask_often(300ms);
  });
}
