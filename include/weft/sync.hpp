// Synchronisation: all of it.
#pragma once
#include "weft/barrier.hpp"
#include "weft/condition_variable.hpp"
#include "weft/latch.hpp"
#include "weft/mutex.hpp"
#include "weft/object_pool.hpp"
#include "weft/once.hpp"
#include "weft/recursive_mutex.hpp"
#include "weft/semaphore.hpp"
#include "weft/shared_mutex.hpp"
#include "weft/wait_group.hpp"
