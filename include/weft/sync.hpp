// Synchronisation: all of it.
#pragma once
#include "weft/mutex.hpp"
#include "weft/semaphore.hpp"
#include "weft/wait_group.hpp"
