// empty_cxx: a program that does nothing, but is linked with the C++ library, as every user of weft is. Loading that
// takes longer than a runtime's whole life.
#include <stdexcept>

int main(int argc, char**) {
  if (argc == 0) throw std::logic_error("keeps the linker from dropping the library");
  return 0;
}
