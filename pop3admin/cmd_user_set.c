/*
 * cmd_user_set.c - the options of a user: user set, and those of user add.
 *
 * Runs in:  pop3admin, as whoever may write the users file.
 * Trusts:   its caller.
 */
#include "cmd_user.h"
#include "user_options.h"

#include <string.h>

int user_check_words(const struct admin *a)
{
	for (size_t i = 1; i < a->n_pos; i++)
		if (!strchr(a->pos[i], '='))
			return fail(EX_USAGE,
				    "'%s': behind the name write options as KEY=VALUE, or KEY= to "
				    "take one away",
				    a->pos[i]);
	return 0;
}

int user_assign(const struct admin *a, struct user *u, size_t first, struct pop_why *why)
{
	for (size_t i = first; i < a->n_pos; i++) {
		const char *text = a->pos[i];
		char name[32] = "";
		size_t len = strcspn(text, "=");
		int err = user_option_set(u, text, why);

		if (err < 0)
			return err;
		if (len < sizeof(name))
			memcpy(name, text, len);
		if (user_option_idle(&a->conf, u, name, why))
			return POP_E_RANGE;
	}
	return user_check_maildrop(a, u, why);
}

struct assignment {
	struct admin *a;
	struct pop_why why;
};

static int assign(void *ctx, struct user *u)
{
	struct assignment *set = ctx;

	return user_assign(set->a, u, 1, &set->why);
}

int cmd_user_set(struct admin *a)
{
	struct assignment set = { .a = a };
	struct pop_why why = { "" };
	int err = user_check_words(a);

	if (err)
		return err;
	err = users_change(a->conf.users, a->pos[0], assign, &set, &why);

	if (err < 0)
		return user_edit_failed(a, err, a->pos[0], set.why.text[0] ? &set.why : &why);
	return cmd_user_show(a);
}
