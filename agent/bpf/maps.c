// SPDX-License-Identifier: GPL-2.0-or-later
/* `portreeve-bpf maps`: finds pinned maps by their names and prints their bytes as they are. What they mean is for the reader to say. */
#include "json.h"
#include "portreeve-bpf.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define BATCH 256
#define DEPTH_MAX 6
#define PINS_MAX 65536
#define ENTRIES_MAX 1000000
#define SIZE_MAX_BYTES 512
#define BPF_FS_MAGIC 0xcafe4a11

struct search {
	char **names;
	int count;
	int seen;
	int found;
};

static void print_failure(const char *path, int error)
{
	json_begin("map-failed");
	json_text("pin", path);
	json_text("code", strerrorname_np(error) ? strerrorname_np(error) : "");
	json_text("reason", strerror(error));
	json_end();
}

static void print_map(const char *path, const struct bpf_map_info *info)
{
	json_begin("map");
	json_text("pin", path);
	json_number("type", info->type);
	json_number("keySize", info->key_size);
	json_number("valueSize", info->value_size);
	json_number("maxEntries", info->max_entries);
	json_end();
}

static void print_entry(const uint8_t *key, const uint8_t *value, const struct bpf_map_info *info)
{
	json_begin("entry");
	json_hex("key", key, info->key_size);
	json_hex("value", value, info->value_size);
	json_end();
}

/* -1 where the kernel has no batches for this sort of map. */
static long print_batches(int map, const struct bpf_map_info *info)
{
	static uint8_t keys[BATCH * SIZE_MAX_BYTES], values[BATCH * SIZE_MAX_BYTES], position[SIZE_MAX_BYTES];
	long entries = 0;
	void *from = NULL;
	int error;

	do {
		uint32_t size = BATCH;

		error = bpf_map_lookup_batch(map, from, position, keys, values, &size, NULL) ? errno : 0;
		if (error && error != ENOENT)
			return entries ? entries : -1;
		for (uint32_t i = 0; i < size; i++)
			print_entry(keys + i * info->key_size, values + i * info->value_size, info);
		entries += size;
		from = position;
	} while (!error && entries < ENTRIES_MAX);
	return entries;
}

static long print_one_by_one(int map, const struct bpf_map_info *info)
{
	uint8_t key[SIZE_MAX_BYTES], next[SIZE_MAX_BYTES], value[SIZE_MAX_BYTES];
	void *from = NULL;
	long entries = 0;

	while (entries < ENTRIES_MAX && !bpf_map_get_next_key(map, from, next)) {
		memcpy(key, next, info->key_size);
		from = key;
		/* It may have gone meanwhile. */
		if (bpf_map_lookup_elem(map, key, value))
			continue;
		print_entry(key, value, info);
		entries++;
	}
	return entries;
}

static void read_map(const char *path)
{
	LIBBPF_OPTS(bpf_obj_get_opts, options, .file_flags = BPF_F_RDONLY);
	struct bpf_map_info info = {};
	uint32_t length = sizeof(info);
	int map = bpf_obj_get_opts(path, &options);
	long entries;

	if (map < 0)
		return print_failure(path, errno);
	if (bpf_obj_get_info_by_fd(map, &info, &length))
		return print_failure(path, errno);
	print_map(path, &info);
	/* Those that hold a value for each processor are read in another way, and no service map is one. */
	if (info.type != BPF_MAP_TYPE_HASH && info.type != BPF_MAP_TYPE_LRU_HASH && info.type != BPF_MAP_TYPE_ARRAY && info.type != BPF_MAP_TYPE_LPM_TRIE)
		return print_failure(path, ENOTSUP);
	if (info.key_size > SIZE_MAX_BYTES || info.value_size > SIZE_MAX_BYTES)
		return print_failure(path, E2BIG);
	entries = print_batches(map, &info);
	if (entries < 0)
		entries = print_one_by_one(map, &info);
	json_begin("map-end");
	json_text("pin", path);
	json_number("entries", entries);
	json_bool("cut", entries >= ENTRIES_MAX);
	json_end();
	json_flush();
}

static int is_wanted(const struct search *search, const char *name)
{
	for (int i = 0; i < search->count; i++)
		if (!strncmp(name, search->names[i], strlen(search->names[i])))
			return 1;
	return 0;
}

static void look_in(struct search *search, const char *directory, int depth)
{
	DIR *entries = opendir(directory);
	struct dirent *entry;

	if (!entries)
		return print_failure(directory, errno);
	while ((entry = readdir(entries)) && search->seen < PINS_MAX) {
		char path[1024];
		struct stat status;

		if (entry->d_name[0] == '.')
			continue;
		search->seen++;
		if (snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name) >= (int)sizeof(path) || lstat(path, &status))
			continue;
		if (S_ISDIR(status.st_mode) && depth < DEPTH_MAX) {
			look_in(search, path, depth + 1);
		} else if (S_ISREG(status.st_mode) && is_wanted(search, entry->d_name)) {
			search->found++;
			read_map(path);
		}
	}
	closedir(entries);
}

int maps(int argc, char **argv)
{
	const char *directory = "/sys/fs/bpf";
	struct statfs mounted;
	int first = 1;
	struct search search = {};

	if (argc > 2 && !strcmp(argv[1], "--dir")) {
		directory = argv[2];
		first = 3;
	}
	search.names = argv + first;
	search.count = argc - first;
	if (search.count < 1 || argv[first][0] == '-') {
		fprintf(stderr, "usage: portreeve-bpf maps [--dir DIRECTORY] NAME...\n");
		return EXIT_USAGE;
	}
	hear_libbpf();
	json_wait_for_reader();
	if (statfs(directory, &mounted) || mounted.f_type != BPF_FS_MAGIC)
		print_failure(directory, errno ? errno : ENODEV);
	else
		look_in(&search, directory, 0);
	json_begin("end");
	json_number("maps", search.found);
	json_end();
	return json_flush() ? 1 : 0;
}
