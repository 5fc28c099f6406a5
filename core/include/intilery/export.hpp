/// \file
#pragma once

/// Marks what the shared library shows; everything else of it is hidden. With the static library there is nothing to
/// mark.
#if defined(INTILERY_SHARED) && !defined(_WIN32)
#define INTILERY_API [[gnu::visibility("default")]]
#else
#define INTILERY_API
#endif
