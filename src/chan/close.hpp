// close: a channel that is closed by the runtime itself, for whoever has something that others wait for by way of one.
#pragma once
#include "model/glist.hpp"
#include "model/hchan.hpp"

namespace weft::rt {

// Inside the door. `all` gets who waited, to be readied by the caller. False: it was closed before. No scheduling point of an
// exploration, and no place to give way.
bool close_quietly(hchan* c, glist& all);

}  // namespace weft::rt
