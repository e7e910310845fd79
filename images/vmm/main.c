/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mshv-vmm, kvm-vmm: own a child partition and do what a line protocol tells them to (serve.c). */
#include <malloc.h>
#include <signal.h>
#include <string.h>

#include "backend.h"
#include "vmm.h"

static const char usage[] =
	"usage: %1$s                      protocol on stdin and stdout, ends with stdin\n"
	"       %1$s --socket PATH        protocol on a Unix socket, one client at a time, ends with \"quit\"\n"
	"       %1$s --detach PATH        the same in the background\n"
	"       %1$s --connect PATH       stdin and stdout to the socket of another one\n"
	"       %1$s --kmsg FROM          kernel log from this sequence number on; with - from each\n"
	"                                that a line of stdin names\n"
	"       %1$s --drain FILE         what trace_pipe holds, once for each line on stdin\n";

static void interrupted(int signal)
{
	(void)signal;			/* only to make the run of a VP return */
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = interrupted };

	/*
	 * Memory that malloc() maps may come to lie where a BAR was unmapped a moment ago, and what is then mapped in
	 * its place would take that memory away, or lose pages when malloc() gives some back. So it has one heap.
	 */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_MAX, 0);
	sigaction(SIGUSR1, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (argc == 1) {
		serve(stdin, stdout);
		return 0;
	}
	if (argc == 3 && !strcmp(argv[1], "--socket"))
		return serve_socket(argv[2], false);
	if (argc == 3 && !strcmp(argv[1], "--detach"))
		return serve_socket(argv[2], true);
	if (argc == 3 && !strcmp(argv[1], "--connect"))
		return relay(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "--kmsg"))
		return show_kmsg(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "--drain"))
		return drain(argv[2]);
	fprintf(stderr, usage, backend.program);
	return 2;
}
