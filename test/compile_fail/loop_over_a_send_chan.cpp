// wrong: a loop over a sending end
// says: 'begin' was not declared|invalid range expression
#include <weft/chan.hpp>

int use(const weft::send_chan<int>& in, const weft::recv_chan<int>& out) {
  int sum = 0;
#ifdef WRONG
  for (int v : in) sum += v;
#else
  for (int v : out) sum += v;
  in.send(sum);
#endif
  return sum;
}
