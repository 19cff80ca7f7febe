/* littlefs formats numbers in messages that are compiled out; the types are all it needs. */
#ifndef AIRLIFT_INTTYPES_H
#define AIRLIFT_INTTYPES_H

#include <stdint.h>

#endif
