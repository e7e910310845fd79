/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A region with the physical pages that the root's own kernel has behind it: of RAM what the page tables of this process
 * say (/proc/self/pagemap), of a device what its resource says. An auditor compares that with the hypervisor's tables.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "vmm.h"

#define PAGEMAP_PRESENT		(1ull << 63)
#define PAGEMAP_PFN		((1ull << 55) - 1)
#define PAGEMAP_BATCH		512u

/* Runs of pages that are there: FIRST+COUNT@PFN,... Pages never touched, or not to be had, are left out. */
static void show_pages(FILE *out, const uint8_t *host, uint64_t pages)
{
	uint64_t entry[PAGEMAP_BATCH], first = 0, count = 0, pfn = 0;
	int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	const char *comma = "";

	for (uint64_t at = 0; file >= 0 && at < pages; at += PAGEMAP_BATCH) {
		uint64_t n = pages - at < PAGEMAP_BATCH ? pages - at : PAGEMAP_BATCH;
		off_t where = (off_t)(((uintptr_t)host / ABI_PAGE + at) * sizeof *entry);

		if (pread(file, entry, n * sizeof *entry, where) != (ssize_t)(n * sizeof *entry))
			break;
		for (uint64_t i = 0; i < n; i++) {
			uint64_t page = entry[i] & PAGEMAP_PRESENT ? entry[i] & PAGEMAP_PFN : 0;

			if (count && page == pfn + count) {
				count++;
				continue;
			}
			if (count)
				fprintf(out, "%s%" PRIu64 "+%" PRIu64 "@%#" PRIx64, comma, first, count, pfn), comma = ",";
			first = at + i;
			count = page ? 1 : 0;
			pfn = page;
		}
	}
	if (count)
		fprintf(out, "%s%" PRIu64 "+%" PRIu64 "@%#" PRIx64, comma, first, count, pfn);
	if (file >= 0)
		close(file);
}

/* First physical page of a BAR, as the PCI core placed it; 0 when the device is gone. */
static uint64_t bar_page(const struct map *map)
{
	char path[64], line[80];
	uint64_t start = 0;

	snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/resource", map->bdf);
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	for (uint64_t i = 0; i <= map->bar; i++)
		if (!fgets(line, sizeof line, file) || sscanf(line, "%" SCNx64, &start) != 1)
			start = 0;
	fclose(file);
	return start / ABI_PAGE;
}

/* GFN;PAGES;rwx;KIND;PFN of the first page or -;RUNS or - */
void live_show(FILE *out, const struct live *live)
{
	bool vfio = !strcmp(live->kind, "vfio"), device = vfio || !strcmp(live->kind, "devmem");
	uint64_t page = live->map && device ? live->map->first + live->first : 0;

	if (live->map && vfio) {
		uint64_t bar = bar_page(live->map);

		page = bar ? page + bar : 0;
	}
	fprintf(out, " %#" PRIx64 ";%" PRIu64 ";r%s%s;%s%s;", live->gfn, live->pages, live->writable ? "w" : "",
		live->executable ? "x" : "", live->kind, live->host ? "" : "-gone");
	fprintf(out, page ? "%#" PRIx64 ";" : "-;", page);
	if (live->host && !device)
		show_pages(out, live->host, live->pages);
	else
		fputc('-', out);
}
