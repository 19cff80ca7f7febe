/* The functions of string.h that littlefs calls. They are linked from Rust (compiler_builtins,
 * tinyrlibc) or the chip's ROM; this header only tells the C compiler about them, so that no C
 * library has to be installed for this target. */
#ifndef AIRLIFT_STRING_H
#define AIRLIFT_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);
char *strcpy(char *restrict to, const char *restrict from);
size_t strlen(const char *text);
char *strchr(const char *text, int character);
size_t strspn(const char *text, const char *accepted);
size_t strcspn(const char *text, const char *refused);

#endif
