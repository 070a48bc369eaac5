#!/bin/sh
# peers.sh - other POP3 servers to measure beside, without installing them.
#
#   peers.sh fetch DIR         download Debian's servers, unpack them below DIR
#   peers.sh conf DIR USERS    their configuration; USERS lines: name, maildrop (mbox or maildir)
#   peers.sh run DIR CMD...    run CMD where the peers find their files, and in $PEER_MAIL the mail
#   peers.sh courier DIR CMD... the same with Courier's authdaemond beside CMD, which ends with it
#   peers.sh versions DIR      a line for each of them: package, version
#
# Needs root.  "run" makes a private mount namespace: the accounts, the mail and the programs of the
# peers are seen by CMD and its children alone and vanish with them.  The machine's own passwd,
# shadow, PAM and mail are never written; the one trace is the empty /usr/lib/dovecot made as a
# mount point, which "clean" removes.
set -eu

UID_BENCH=61110 # owns the mail
# crypt(3) of "bench", cheap on purpose: sessions are measured, not hashing
HASH="\$5\$rounds=1000\$benchbenchbench\$"

usage() {
	sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
	exit 64
}

fetch() {
	if [ -x "$dir/root/usr/sbin/popa3d" ] && [ -x "$dir/root/usr/sbin/dovecot" ] &&
		[ -x "$dir/root/usr/bin/stunnel4" ] && [ -e "$dir/others.deb/done" ] &&
		[ -e "$dir/courier.deb/done" ]; then
		return
	fi
	mkdir -p "$dir/deb" "$dir/root" "$dir/others.deb" "$dir/others" "$dir/courier.deb" \
		"$dir/courier-root"
	(cd "$dir/deb" && apt-get download popa3d dovecot-core dovecot-pop3d liblua5.4-0 \
		libexttextcat-2.0-0 stunnel4 libwrap0 >apt.log 2>&1) || { cat "$dir/deb/apt.log" >&2; exit 69; }
	for deb in "$dir"/deb/*.deb; do
		dpkg -x "$deb" "$dir/root"
	done
	# With their libraries, which nothing else is to find.
	(cd "$dir/others.deb" && apt-get download mailutils-pop3d libmailutils9 mailutils-common \
		libmu-dbm9 libkyotocabinet16v5 libmariadb3 libgsasl18 libntlm0 libpq5 libldap-2.5-0 \
		libsasl2-2 libltdl7 solid-pop3d liblockfile1 >apt.log 2>&1) ||
		{ cat "$dir/others.deb/apt.log" >&2; exit 69; }
	for deb in "$dir"/others.deb/*.deb; do
		dpkg -x "$deb" "$dir/others"
	done
	: >"$dir/others.deb/done"
	(cd "$dir/courier.deb" && apt-get download courier-pop courier-base courier-authlib \
		courier-authdaemon libcourier-unicode4 libgamin0 >apt.log 2>&1) ||
		{ cat "$dir/courier.deb/apt.log" >&2; exit 69; }
	for deb in "$dir"/courier.deb/*.deb; do
		dpkg -x "$deb" "$dir/courier-root"
	done
	: >"$dir/courier.deb/done"
	# What only Dovecot needs lies beside it, where its run path looks.
	cp -a "$dir"/root/usr/lib/*-linux-gnu/lib*.so.* "$dir/root/usr/lib/dovecot/"
}

accounts() {
	hash=$(perl -e 'print crypt("bench", $ARGV[0])' "$HASH")
	echo "$hash" >"$dir/hash"
	grep -vE '^(popa3d|dovecot|dovenull|spop3d|pop3bench):' /etc/passwd >"$dir/etc/passwd"
	cat >>"$dir/etc/passwd" <<-END
	popa3d:x:61113:61113::/var/lib/popa3d:/usr/sbin/nologin
	dovecot:x:61114:61114::/nonexistent:/usr/sbin/nologin
	dovenull:x:61115:61115::/nonexistent:/usr/sbin/nologin
	spop3d:x:61116:61116::/nonexistent:/usr/sbin/nologin
	END
	grep -vE '^(popa3d|dovecot|dovenull|spop3d|pop3bench):' /etc/group >"$dir/etc/group"
	printf '%s\n' popa3d:x:61113: dovecot:x:61114: dovenull:x:61115: spop3d:x:61116: \
		"pop3bench:x:$UID_BENCH:" >>"$dir/etc/group"
	(umask 077 && : >"$dir/etc/shadow" && : >"$dir/dovecot-users")
	while read -r name kind; do
		echo "$name:x:$UID_BENCH:$UID_BENCH::$dir/courier/home/$name:/usr/sbin/nologin" \
			>>"$dir/etc/passwd"
		echo "$name:$hash:19000:0:99999:7:::" >>"$dir/etc/shadow"
		case $kind in
		mbox) loc="mbox:$dir/dovecot/home/$name:INBOX=$dir/dovecot/mail/$name" ;;
		*) loc="maildir:$dir/dovecot/maildir/$name" ;;
		esac
		echo "$name:{CRYPT}$hash:$UID_BENCH:$UID_BENCH::$dir/dovecot/home/$name::userdb_mail=$loc" \
			>>"$dir/dovecot-users"
	done <"$1"
	chown 61114 "$dir/dovecot-users"
}

# One P-256 certificate for all; root's, like the key.
certificate() {
	if [ -s "$dir/tls.crt" ]; then
		return
	fi
	(umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-days 3650 -subj /CN=bench.example.org -addext subjectAltName=DNS:bench.example.org \
		-keyout "$dir/tls.key" -out "$dir/tls.crt" 2>"$dir/openssl.log") ||
		{ cat "$dir/openssl.log" >&2; exit 69; }
}

# Dovecot as its users run it: a resident master, one login process for each connection, the
# limits raised so that a hundred sessions fit.
#   dovecot_conf NAME PLAIN-PORT TLS-PORT SSL: without TLS its processes do not prepare for it
dovecot_conf() {
	mkdir -p "$dir/$1/run" "$dir/$1/state" "$dir/dovecot/home"
	chown -R "$UID_BENCH:$UID_BENCH" "$dir/dovecot/home"
	cat >"$dir/$1.conf" <<-END
	protocols = pop3
	listen = 127.0.0.1
	ssl = $4
	ssl_cert = <$dir/tls.crt
	ssl_key = <$dir/tls.key
	disable_plaintext_auth = no
	base_dir = $dir/$1/run
	state_dir = $dir/$1/state
	log_path = $dir/$1/log
	mail_privileged_group = mail
	auth_mechanisms = plain
	first_valid_uid = 1000
	auth_cache_size = 0
	mail_max_userip_connections = 1000
	service pop3-login {
	  inet_listener pop3 {
	    port = $2
	  }
	  inet_listener pop3s {
	    port = $3
	    ssl = yes
	  }
	  process_limit = 400
	}
	service pop3 {
	  process_limit = 400
	}
	passdb {
	  driver = passwd-file
	  args = $dir/dovecot-users
	}
	userdb {
	  driver = passwd-file
	  args = $dir/dovecot-users
	}
	END
}

# stunnel before popa3d, once started for each connection, once resident.
stunnel_conf() {
	cat >"$dir/stunnel-i.conf" <<-END
	syslog = no
	debug = warning
	cert = $dir/tls.crt
	key = $dir/tls.key
	exec = $dir/root/usr/sbin/popa3d
	execArgs = popa3d
	END
	cat >"$dir/stunnel.conf" <<-END
	foreground = quiet
	pid =
	output = $dir/stunnel.log
	syslog = no
	debug = warning
	[pop3s]
	accept = 127.0.0.1:$((port + 2))
	cert = $dir/tls.crt
	key = $dir/tls.key
	exec = $dir/root/usr/sbin/popa3d
	execArgs = popa3d
	END
}

conf() {
	port=${DOVECOT_PORT:-1510}
	mkdir -p "$dir/popa3d/mail" "$dir/varlib/popa3d" "$dir/etc/pam.d"
	accounts "$1"
	cp "$dir/root/etc/pam.d/popa3d" "$dir/etc/pam.d/"
	cp "$dir/root/etc/pam.d/popa3d" "$dir/etc/pam.d/gnu-mailutils"
	cp "$dir/root/etc/pam.d/popa3d" "$dir/etc/pam.d/solid-pop3d"
	cp "$dir/others/etc/spop3d.conf" "$dir/etc/"
	mkdir -p "$dir/etc/courier"
	cp "$dir/courier-root/etc/courier/authdaemonrc" "$dir/etc/courier/"
	cp "$dir/root/etc/pam.d/popa3d" "$dir/etc/pam.d/pop3"
	certificate
	dovecot_conf dovecot "$port" 0 no
	dovecot_conf dovecot-tls 0 $((port + 1)) yes
	stunnel_conf
}

in_namespace() {
	mkdir -p /usr/lib/dovecot
	export dir
	# shellcheck disable=SC2016
	exec unshare -m --propagation private sh -eu -c '
		mount -t overlay -o "lowerdir=$dir/etc:/etc" overlay /etc
		mount --bind "$dir/varlib" /var/lib
		mount --bind "${PEER_MAIL:-$dir/popa3d/mail}" /var/mail
		mount --bind "$dir/root/usr/lib/dovecot" /usr/lib/dovecot
		unset dir PEER_MAIL
		exec "$@"' sh "$@"
}

# Courier's programs look for each other below /usr, and for authdaemond below /run.  The first
# process of a process namespace takes all others with it.
with_courier() {
	export dir
	# shellcheck disable=SC2016
	exec unshare -m -p --fork --kill-child=TERM --propagation private sh -eu -c '
		mount -t overlay -o "lowerdir=$dir/etc:/etc" overlay /etc
		mount -t overlay -o "lowerdir=$dir/courier-root/usr:/usr" overlay /usr
		mount -t tmpfs tmpfs /run
		mkdir -p /run/courier/authdaemon
		set -a
		. /etc/courier/authdaemonrc
		# what couriertcpd says of the client, who is always the same
		TCPREMOTEIP=127.0.0.1 TCPREMOTEPORT=1024 TCPLOCALIP=127.0.0.1 TCPLOCALPORT=110
		TCPREMOTEHOST=localhost PORT=110 POP3AUTH= MAILDIRPATH=Maildir
		set +a
		unset dir
		/usr/lib/courier/courier-authlib/authdaemond >/dev/null 2>&1 </dev/null &
		for i in 1 2 3 4 5 6 7 8 9 10; do
			[ -S /run/courier/authdaemon/socket ] && break
			sleep 0.2
		done
		exec "$@"' sh "$@"
}

versions() {
	for deb in "$dir"/deb/*.deb "$dir"/others.deb/*.deb "$dir"/courier.deb/*.deb; do
		# shellcheck disable=SC2016
		dpkg-deb -W --showformat '${Package} ${Version}\n' "$deb"
	done
}

[ $# -ge 2 ] || usage
verb=$1
dir=$(readlink -f "$2" 2>/dev/null || echo "$2")
shift 2
case $verb in
fetch) fetch ;;
conf) conf "$1" ;;
run) in_namespace "$@" ;;
courier) with_courier "$@" ;;
versions) versions ;;
clean) rmdir /usr/lib/dovecot 2>/dev/null || : ;;
*) usage ;;
esac
