/// \file
#pragma once

/// The version of this library.
#define INTILERY_VERSION "0.1.0"
