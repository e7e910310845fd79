/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mshv-vmm: owns a child partition and does what a line protocol tells it to (serve.c). */
#include <signal.h>
#include <string.h>

#include "vmm.h"

static const char usage[] =
	"usage: mshv-vmm                      protocol on stdin and stdout, ends with stdin\n"
	"       mshv-vmm --socket PATH        protocol on a Unix socket, one client at a time, ends with \"quit\"\n"
	"       mshv-vmm --detach PATH        the same in the background\n"
	"       mshv-vmm --connect PATH       stdin and stdout to the socket of another mshv-vmm\n"
	"       mshv-vmm --kmsg FROM          kernel log from this sequence number on\n";

static void interrupted(int signal)
{
	(void)signal;			/* only to make MSHV_RUN_VP return */
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = interrupted };

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
	fputs(usage, stderr);
	return 2;
}
