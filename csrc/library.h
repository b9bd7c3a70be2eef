// The dispatcher's namespace of the operators. The emulator registers the same schemas as cdifast_emulator::*.
#pragma once

#if defined(CDIFAST_EMULATOR)
#define CDIFAST_LIBRARY cdifast_emulator
#else
#define CDIFAST_LIBRARY cdifast
#endif
