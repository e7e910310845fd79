/* SPDX-License-Identifier: GPL-2.0-or-later */
/* child-io: device accesses inside a Linux child, driven by the lab over SSH. */
#ifndef CHILD_IO_H
#define CHILD_IO_H

#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES 4096UL


/* A mapping of a BAR through sysfs. */
struct bar {
	volatile uint8_t *at;
	size_t bytes;
};

void die(const char *what, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* bar.c */
void bar_map(struct bar *bar, const char *bdf, unsigned int index);
int bar_read(const struct bar *bar, uint64_t offset, unsigned int width, uint64_t *value);
int bar_write(const struct bar *bar, uint64_t offset, unsigned int width, uint64_t value);
int bar_serve(const char *bdf, unsigned int index);

/* edu.c */
int edu_factorial(const char *bdf, uint32_t of);
int edu_msi(const char *bdf, unsigned int count);
int edu_dma(const char *bdf, uint32_t bytes);

/* beat.c */
int beat_all(const char *address, unsigned int seconds);

#endif
