/*
 * cmd_stats.c - the counters of run_dir, as a table, JSON or Prometheus' text.
 *
 * Runs in:  pop3admin, as root (run_dir is root's alone).
 * Trusts:   run_dir.
 */
#include "admin.h"
#include "records.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct stats {
	struct admin *a;
	struct records records;
	int64_t now;
	uint64_t open; /* sessions */
};

/* Of a row with labels: which ones are i and j? */
static unsigned rows_of(unsigned n)
{
	return n ? n : 1;
}

static const char *label_of(const char *(*value)(unsigned), unsigned i)
{
	return value ? value(i) : "";
}

static void print_counter(struct stats *s, const struct record_row *row, unsigned i, unsigned j)
{
	unsigned counter = row->first + i * rows_of(row->n2) + j;
	uint64_t total = records_total(&s->records, counter);
	struct out *out = &s->a->out;
	char labels[64];

	if (row->label && total == 0)
		return;
	snprintf(labels, sizeof(labels), "%s%s%s", label_of(row->value, i), row->label2 ? " " : "",
		 label_of(row->value2, j));
	out_object_begin(out);
	out_str(out, "counter", row->name);
	out_words(out, "labels", labels);
	out_u64(out, "total", total);
	out_u64(out, "today", records_today(&s->records, counter, s->now));
	out_time(out, "since", records_since(&s->records));
	out_object_end(out);
}

static void print_sample(struct stats *s, const struct record_row *row, unsigned i, unsigned j)
{
	unsigned counter = row->first + i * rows_of(row->n2) + j;
	uint64_t total = records_total(&s->records, counter);

	/* the mechanisms that nobody uses would be most of the lines */
	if (row->label2 && total == 0)
		return;
	printf("pop3d_%s_total", row->name);
	if (row->label)
		printf("{%s=\"%s\"", row->label, row->value(i));
	if (row->label2)
		printf(",%s=\"%s\"", row->label2, row->value2(j));
	printf("%s %llu\n", row->label ? "}" : "", (unsigned long long)total);
}

static void each_counter(struct stats *s, const struct record_row *row,
			 void (*print)(struct stats *, const struct record_row *, unsigned,
				       unsigned))
{
	for (unsigned i = 0; i < rows_of(row->n); i++)
		for (unsigned j = 0; j < rows_of(row->n2); j++)
			print(s, row, i, j);
}

static void print_prometheus(struct stats *s)
{
	for (size_t i = 0; i < record_n_rows && s->records.table; i++) {
		const struct record_row *row = &record_rows[i];

		printf("# HELP pop3d_%s_total %s\n# TYPE pop3d_%s_total counter\n", row->name,
		       row->help, row->name);
		each_counter(s, row, print_sample);
	}
	printf("# HELP pop3d_sessions_open Sessions now.\n"
	       "# TYPE pop3d_sessions_open gauge\n"
	       "pop3d_sessions_open %llu\n",
	       (unsigned long long)s->open);
	if (s->records.table)
		printf("# HELP pop3d_counters_since_seconds When all counters were 0, since the "
		       "epoch.\n"
		       "# TYPE pop3d_counters_since_seconds gauge\n"
		       "pop3d_counters_since_seconds %lld\n",
		       (long long)records_since(&s->records));
}

static int count_alive(void *ctx, const struct session_record *r)
{
	struct stats *s = ctx;

	s->open += record_alive(r);
	return 0;
}

int cmd_stats(struct admin *a)
{
	struct stats s = { .a = a, .now = time(NULL) };
	struct pop_why why = { "" };
	int err;

	if (a->opt[OPT_PROMETHEUS] && a->out.json)
		return fail(EX_USAGE, "stats: --prometheus or --json, not both");
	err = records_open(&s.records, a->conf.run_dir, false, &why);
	if (err == POP_E_CORRUPT)
		return fail(EX_DATAERR, "%s; the next session makes it anew", why.text);
	if (err < 0 && err != POP_E_MISSING) /* missing: there was no session yet */
		return fail(status_of(err), "%s", why.text);
	if (a->opt[OPT_PROMETHEUS]) {
		if (s.records.table)
			records_each(&s.records, count_alive, &s);
		print_prometheus(&s);
	} else {
		out_list_begin(&a->out);
		for (size_t i = 0; i < record_n_rows && s.records.table; i++)
			each_counter(&s, &record_rows[i], print_counter);
		out_list_end(&a->out);
	}
	records_close(&s.records);
	return 0;
}
