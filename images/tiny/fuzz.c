#include "tiny.h"
void fuzz(void) {}
