#include "os/sandbox.h"

bool qy_sandbox;
