#pragma once
#include <cstddef>
#include <string>

#include "checker/machine.hpp"

namespace weft::check {

const char* order_name(order o);
const char* act_name(act a);
// The last steps of the recorded execution.
void print_timeline(std::size_t last);
std::string failure_with_places();

}  // namespace weft::check
