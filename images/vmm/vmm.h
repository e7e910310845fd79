/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the VMM share. One VMM owns at most one child partition at a time. */
#ifndef HVLAB_VMM_H
#define HVLAB_VMM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../payload/layout.h"
#include "mshv_abi.h"

#define MAX_VPS			16
#define MAX_MAPS		64
#define MAX_REGIONS		256
#define MAX_DEVICES		16
#define MAX_LINE		(4u << 20)
#define PROTOCOL_VERSION	1

/* ---- reply.c: the answer to one request ---- */
struct reply {
	FILE *out;			/* what follows "ok" */
	int error;			/* errno, 0 for ok */
	char text[240];			/* with an error: what failed, on what */
};
/* Note the failure and return -1. */
int fail(struct reply *, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- words.c: the words of a request ---- */
struct words {
	char *rest;			/* strtok state */
	char *next;			/* one word of look-ahead */
};
void words_start(struct words *, char *line);
char *word_take(struct words *);			/* NULL at the end */
int word_text(struct words *, struct reply *, const char *what, const char **);
int word_number(struct words *, struct reply *, const char *what, uint64_t *);

/* ---- maps.c: host mappings that regions are made of ---- */
struct map {
	bool used;
	char kind[8];
	char bdf[16];			/* vfio */
	uint64_t bar;
	bool writable;
	uint64_t first;			/* page of the source, of physical memory for devmem */
	uint8_t *base;
	uint64_t pages;
};
struct map *map_find(uint64_t id);
int map_verb(struct words *, struct reply *);
int munmap_verb(struct words *, struct reply *);
int host_verb(struct words *, struct reply *);
int fill_verb(struct words *, struct reply *);
int protect_verb(struct words *, struct reply *);
/* The words MAP FIRST PAGES; NULL (and a failure noted) when they are no pages of a mapping. */
struct map *map_range(struct words *, struct reply *, uint64_t *first, uint64_t *pages);

/* ---- toggle.c: a mapping that never rests ---- */
int toggle_verb(struct words *, struct reply *);

/* ---- advise.c: madvise() of host mappings ---- */
int advise_verb(struct words *, struct reply *);

/* ---- vfio.c ---- */
/* File and offset to mmap for a BAR of a device bound to vfio-pci; opens the device on first use. */
int vfio_bar(const char *bdf, uint64_t bar, struct reply *, uint64_t *offset, uint64_t *size);
int vfio_verb(struct words *, struct reply *);

/* ---- vp.c: virtual processors, each with a thread of its own ---- */
struct access {
	uint32_t op;			/* OP_* of the payload */
	uint32_t status;		/* STATUS_* */
	uint64_t address;
	uint64_t value;
	uint64_t expected;		/* of a storm's read */
	struct abi_message *message;	/* with STATUS_INTERCEPTED */
};

/* Reads over and over, counted by what they gave (storm.c). */
struct storm {
	uint64_t limit;			/* rounds; 0: no storm */
	atomic_ulong rounds;
	atomic_bool calm;
	uint64_t right, ones, unmapped, refused, other, foreign;
	uint64_t address, value;	/* of the first foreign one */
};

struct job {
	struct access *list;
	size_t count;
	int error;			/* errno of the run as a whole */
	char text[160];
	struct storm storm;
};

struct vp;
struct vp *vp_open(int partition, uint32_t index, uint8_t *ram, struct reply *);
/* Close the file and end the thread. False when the thread is stuck in the kernel and still uses the RAM. */
bool vp_free(struct vp *);
int vp_submit(struct vp *, struct job *, struct reply *);
/* Wait for the submitted job; NULL (and a failure noted) when it had to be given up. */
struct job *vp_collect(struct vp *, uint32_t milliseconds, struct reply *);
/* The same for a storm, which is told to end. */
struct job *vp_calm(struct vp *, uint32_t milliseconds, struct reply *);
int vp_file(const struct vp *);
int vp_show_registers(struct vp *, struct reply *);
struct job *job_new(size_t count);
void job_free(struct job *);

/* ---- partition.c ---- */
int create_verb(struct words *, struct reply *);
int destroy_verb(struct words *, struct reply *);
int region_verb(struct words *, struct reply *);
int peek_verb(struct words *, struct reply *);
int poke_verb(struct words *, struct reply *);
int partition_file(struct reply *);		/* of the partition, -1 without one */
struct vp *partition_vp(uint64_t index, struct reply *);
uint8_t *partition_ram(void);
void map_gone(uint64_t id);			/* regions of it stay, marked as unmapped */
void partition_size(uint32_t *vps, uint64_t *ram_pages);	/* 0 0 without a partition */

/* ---- events.c ---- */
int event_verb(struct words *, struct reply *);
int take_event(struct words *, struct reply *, int *file);	/* the next word is its number */
int ioeventfd_verb(struct words *, struct reply *);
int irqfd_verb(struct words *, struct reply *);
int routes_verb(struct words *, struct reply *);

/* ---- request.c: requests to the driver word by word ---- */
int request_verb(struct words *, struct reply *);
int show_verb(struct words *, struct reply *);
int urgent_verb(struct words *, struct reply *);

/* ---- fork.c: a copy of this process that only holds what it got ---- */
int fork_verb(struct words *, struct reply *);
int unfork_verb(struct words *, struct reply *);

/* ---- live.c: a region and the pages behind it, as the root's own memory management has them ---- */
struct live {
	uint64_t gfn, pages;
	bool writable, executable;
	const char *kind;		/* of its mapping when the region was made */
	const struct map *map;		/* NULL: RAM of the partition, or the mapping is gone */
	uint64_t first;			/* page of the map */
	const uint8_t *host;		/* NULL when the mapping is gone */
};
void live_show(FILE *, const struct live *);

/* ---- access.c: accesses as text ---- */
int access_verb(struct words *, struct reply *);
int parallel_verb(struct words *, struct reply *);
int submit_verb(struct words *, struct reply *);
int collect_verb(struct words *, struct reply *);
int budget_verb(struct words *, struct reply *);
/* Accesses up to the end or to a "/"; those of a storm are reads with the value that must be there. */
struct job *parse_job(struct words *, struct reply *, bool storm);
int registers_verb(struct words *, struct reply *);

/* ---- storm.c ---- */
int storm_verb(struct words *, struct reply *);
int calm_verb(struct words *, struct reply *);
/* Count what a round gave; whether another one follows. "last" was asked for before the round began. */
bool storm_goes_on(struct job *, bool last);

/* ---- serve.c ---- */
enum served { SERVED_EOF, SERVED_QUIT };
enum served serve(FILE *in, FILE *out);
int serve_socket(const char *path, bool detach);
int relay(const char *path);

/* ---- kmsg.c ---- */
int show_kmsg(const char *from);

/* ---- drain.c ---- */
int drain(const char *path);

extern const uint8_t payload_image[], payload_image_end[];

#endif
