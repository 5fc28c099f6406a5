#include "fleet.hpp"

namespace intilery::simulator {

int fleets(bool) { return 0; }

}  // namespace intilery::simulator
