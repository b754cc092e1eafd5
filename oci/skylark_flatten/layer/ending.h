// The end of the program.
#pragma once
#include "abi.h"

_Noreturn void end_program(bool failed);
