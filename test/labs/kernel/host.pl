#!/usr/bin/perl
# One host of the arena, in its own network namespace: answers on TCP, UDP and SCTP ports with who it is, on which port, and whom it sees; sends first packets when
# it is told to; and, on the node, tells of every packet on its wires. Perl, because Node.js has no raw sockets, and because perl-base is on every Debian and starts
# in some milliseconds.
#
#   host.pl NAME [tcp=PORT,…] [udp=PORT,…] [sctp=PORT,…] [own=ADDRESS,…] [watch=INTERFACE,…] [stack=kernel]
#
# Without `sctp=` it is a host whose kernel has no SCTP and no program for it either; with `stack=kernel` SCTP is the kernel's. Reads from standard input:
#   probe ID PROTOCOL FROM FROMPORT TO PORT TTL      sends a first packet; the TTL tells its packets from others wherever they are seen
#   close ID                                         lets go of all connections, tells what it has seen till now, and then says `closed ID`
# and writes:
#   ready
#   met ID WORD [WHO PORT SOURCE]                    connected, ok, refused, reset, unreachable, error:NUMBER
#   packet INTERFACE in|out PROTOCOL SOURCE PORT DESTINATION PORT TTL WHAT [of PROTOCOL SOURCE PORT DESTINATION PORT TTL]
use strict;
use warnings;
use Errno qw(EAGAIN ECONNREFUSED ECONNRESET EHOSTUNREACH EINPROGRESS EINTR EINVAL ENETUNREACH EACCES ENOPROTOOPT EPROTO EPERM);
use Fcntl;
use Socket qw(:all);

my ($name, %given) = (shift @ARGV, map { split /=/, $_, 2 } @ARGV);
my @own = split /,/, $given{own} // '';
my %list = map { $_ => { map { $_ => 1 } split /,/, $given{$_} // '' } } qw(tcp udp sctp);

# Linux's numbers that the Socket module does not have.
use constant { SCTP => 132, PF_PACKET => 17, ETH_P_ALL => 3, PACKET_HOST => 0, PACKET_OUTGOING => 4, IPV6_HDRINCL => 36, IPV6_RECVERR => 25 };

my (%readers, %writers, %probes, %cookies, @accepted);
my ($out, $in) = ('', '');
$0 = "host $name";
$SIG{PIPE} = 'IGNORE';
binmode STDOUT;
STDOUT->autoflush(1);

my $kernel_sctp = ($given{stack} // '') eq 'kernel';
listen_stream(IPPROTO_TCP, '::', $_) for keys %{ $list{tcp} };
for my $address (@own) {
  listen_udp($address, $_) for keys %{ $list{udp} };
  if ($kernel_sctp) { listen_stream(SCTP, $address, $_) for keys %{ $list{sctp} } }
  elsif (exists $given{sctp}) { listen_sctp($address) }
}
my ($wire, %interfaces) = watch(split /,/, $given{watch} // '');
$readers{ fileno STDIN } = \&commands;
say_line('ready');
serve() while 1;

sub serve {
  my ($r, $w) = ('', '');
  vec($r, $_, 1) = 1 for keys %readers;
  vec($w, $_, 1) = 1 for keys %writers;
  return if select($r, $w, undef, undef) < 0;
  for my $fd (keys %readers) { $readers{$fd}->() if vec($r, $fd, 1) && exists $readers{$fd} }
  for my $fd (keys %writers) { $writers{$fd}->() if vec($w, $fd, 1) && exists $writers{$fd} }
  flush_lines();
}

# Lines are gathered and written at once: a packet for a line would take the reader as many turns.
sub say_line { $out .= "$_[0]\n"; flush_lines() if length $out > 8192 || $_[0] eq 'ready' }

sub flush_lines {
  while (length $out) {
    my $written = syswrite STDOUT, $out;
    exit 0 unless defined $written;
    substr($out, 0, $written) = '';
  }
}

sub commands {
  my $read = sysread STDIN, $in, 65536, length $in;
  exit 0 unless $read;
  while ($in =~ s/^(.*)\n//) {
    my ($command, @words) = split / /, $1;
    if ($command eq 'probe') { probe(@words) }
    elsif ($command eq 'close') { close_probes($words[0]) }
  }
}

# --- who answers

sub listen_stream {
  my ($protocol, $address, $port) = @_;
  my $listener = bound(SOCK_STREAM, $protocol, $address, $port) or die "protocol $protocol, port $port: $!";
  listen $listener, 1024 or die "port $port: $!";
  $readers{ fileno $listener } = sub {
    while (accept my $accepted, $listener) {
      my (undef, $source) = address_of(getpeername $accepted // next);
      syswrite $accepted, "$name $port $source\n";
      push @accepted, $accepted;
    }
  };
}

# A socket for each address: one for all of them would answer from an address that the kernel chooses anew.
sub listen_udp {
  my ($address, $port) = @_;
  my $socket = bound(SOCK_DGRAM, 0, $address, $port);
  $readers{ fileno $socket } = sub {
    while (defined(my $from = recv $socket, my $text, 2048, 0)) {
      my (undef, $source) = address_of($from);
      send $socket, "$name $port $source", 0, $from;
    }
  };
}

# A raw socket plays the part of an SCTP stack, as endpoint and as client. A raw socket of IPv4 gets the IP header too.
sub listen_sctp {
  my ($address) = @_;
  my $socket = bound(SOCK_RAW, SCTP, $address, 0);
  $readers{ fileno $socket } = sub {
    while (defined(my $from = recv $socket, my $packet, 2048, 0)) {
      my (undef, $source) = address_of($from);
      $packet = substr $packet, 4 * (ord($packet) & 15) if $source !~ /:/;
      sctp_received($socket, $address, $source, $packet);
    }
  };
}

sub sctp_received {
  my ($socket, $own, $source, $packet) = @_;
  return if length $packet < 16;
  my ($from_port, $port, $tag, undef, $chunk, undef, $length) = unpack 'nnNNCCn', $packet;
  my $body = substr $packet, 16, $length - 4;
  my $answer = sub { send_sctp($socket, [$own, $port], [$source, $from_port], @_) };
  if ($chunk == 1) {
    my $theirs = unpack 'N', $body;
    return $answer->($theirs, 6, '') unless $list{sctp}{$port};
    my $cookie = "$name $port $source $theirs";
    $answer->($theirs, 2, pack('NNnnN', 0x10000 + $port, 65536, 1, 1, 1) . pack('nn', 7, 4 + length $cookie) . padded($cookie));
  }
  elsif ($chunk == 10) { $answer->((split /[ \0]/, $body)[3], 11, "") }
  else { sctp_answered($socket, "$own $port", $chunk, $body) }
}

# --- who asks

sub probe {
  my ($id, $protocol, $from, $from_port, $to, $port, $ttl) = @_;
  return probe_sctp(@_) if $protocol eq 'sctp' && !$kernel_sctp;
  my $probe = $probes{$id} = {};
  my $socket = $probe->{socket} = bound($protocol eq 'udp' ? SOCK_DGRAM : SOCK_STREAM, $protocol eq 'sctp' ? SCTP : 0, $from, $from_port, $ttl);
  return met($id, 'error:' . (0 + $!)) unless $socket;
  my $fd = fileno $socket;
  my $connected = connect $socket, packed($to, $port);
  return met($id, word_of($!)) unless $connected || $! == EINPROGRESS;
  if ($protocol eq 'udp') {
    defined send $socket, $id, 0 or return met($id, word_of($!));
    $readers{$fd} = sub {
      defined recv $socket, my $answer, 2048, 0 or return $! == EAGAIN || $! == EINTR ? undef : met($id, word_of($!));
      met($id, "ok $answer");
    };
    return;
  }
  $writers{$fd} = sub {
    delete $writers{$fd};
    my $error = unpack 'i', getsockopt $socket, SOL_SOCKET, SO_ERROR;
    return met($id, word_of($error)) if $error;
    met($id, 'connected');
    my $answer = '';
    $readers{$fd} = sub {
      my $read = sysread $socket, $answer, 2048, length $answer;
      return if !defined $read && ($! == EAGAIN || $! == EINTR);
      delete $readers{$fd};
      met($id, $answer =~ /^(.*)\n/ ? "ok $1" : $read ? 'error:0' : defined $read ? 'ended' : 'reset');
    };
  };
}

# The whole IP header is made here: such a socket receives nothing, so that a host without SCTP stays one.
sub probe_sctp {
  my ($id, undef, $from, $from_port, $to, $port, $ttl) = @_;
  my $probe = $probes{$id} = { own => "$from $from_port", to => [$to, $port], from => [$from, $from_port] };
  $cookies{"$from $from_port"} = $id;
  my $packet = sctp_packet($from_port, $port, 0, 1, pack('NNnnN', $id, 65536, 1, 1, 1));
  my $header =
    $from =~ /:/
    ? pack('NnCC', 6 << 28, length $packet, SCTP, $ttl) . inet_pton(AF_INET6, $from) . inet_pton(AF_INET6, $to)
    : pack('CCnnnCCn', 0x45, 0, 20 + length $packet, 0, 0, $ttl, SCTP, 0) . inet_aton($from) . inet_aton($to);
  my $sender = bound(SOCK_RAW, IPPROTO_RAW, $from, 0) or return met($id, 'error:' . (0 + $!));
  setsockopt $sender, IPPROTO_IPV6, IPV6_HDRINCL, pack('i', 1) if $from =~ /:/;
  my $sent = send $sender, $header . $packet, 0, packed($to, 0);
  met($id, word_of($!)) unless defined $sent;
}

sub sctp_answered {
  my ($socket, $own, $chunk, $body) = @_;
  my $id = $cookies{$own} // return;
  my $probe = $probes{$id} // return;
  if ($chunk == 2) {
    $probe->{answer} = substr($body, 20) =~ s/\0+$//r;
    met($id, 'connected');
    send_sctp($socket, $probe->{from}, $probe->{to}, unpack('N', $body), 10, $probe->{answer});
  }
  elsif ($chunk == 11) { met($id, 'ok ' . join ' ', (split / /, $probe->{answer} // '')[0 .. 2]) }
  elsif ($chunk == 6) { met($id, 'refused') }
}

sub met { say_line("met $_[0] $_[1]") }

# EPERM is how a process learns that its own packet was dropped in output, EINVAL that a loopback address may not leave: nothing comes of it.
sub word_of {
  my $error = 0 + $_[0];
  return 'refused' if $error == ECONNREFUSED || $error == ECONNRESET;
  return 'unreachable' if grep { $error == $_ } EHOSTUNREACH, ENETUNREACH, EACCES, ENOPROTOOPT, EPROTO;
  return $error == EPERM || $error == EINVAL ? 'forbidden' : "error:$error";
}

sub close_probes {
  my ($id) = @_;
  read_wire() if $wire;
  for my $probe (values %probes) {
    my $socket = $probe->{socket} // next;
    delete $readers{ fileno $socket };
    delete $writers{ fileno $socket };
    abandon($socket);
  }
  abandon($_) for @accepted;
  @accepted = %probes = %cookies = ();
  read_wire() if $wire;
  say_line("closed $id");
}

# Closed by a reset: a connection that ends in an orderly manner would go on to send packets while the next rules are loaded.
sub abandon {
  my ($socket) = @_;
  setsockopt $socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
  close $socket;
}

# --- what is on the wires

sub watch {
  my %names;
  for my $interface (@_) {
    open my $file, '<', "/sys/class/net/$interface/ifindex" or die "$interface: $!";
    chomp($names{ +readline $file } = $interface);
  }
  %names = map { my $index = $_; chomp $index; $index => $names{$_} } keys %names;
  return unless %names;
  # Protocol 0 until all is set up, so that nothing from before is read.
  socket(my $socket, PF_PACKET, SOCK_DGRAM, 0) or die "packet socket: $!";
  setsockopt $socket, SOL_SOCKET, SO_RCVBUF, pack('i', 1 << 22);
  bind $socket, pack('SniSCCa8', PF_PACKET, ETH_P_ALL, 0, 0, 0, 0, '') or die "packet socket: $!";
  unblocked($socket);
  $readers{ fileno $socket } = \&read_wire;
  return ($socket, %names);
}

sub read_wire {
  while (defined(my $from = recv $wire, my $packet, 512, 0)) {
    my (undef, undef, $index, undef, $type) = unpack 'SniSC', $from;
    next unless exists $interfaces{$index} && ($type == PACKET_HOST || $type == PACKET_OUTGOING);
    my $text = described($packet) // next;
    say_line("packet $interfaces{$index} " . ($type == PACKET_HOST ? 'in' : 'out') . " $text");
  }
}

# `PROTOCOL SOURCE PORT DESTINATION PORT TTL WHAT`, for ICMP errors with the same of the packet that they are about; undefined for anything else.
sub described {
  my ($packet) = @_;
  my ($protocol, $source, $destination, $ttl, $rest) = ip_header($packet) or return undef;
  if ($protocol == 1 || $protocol == 58) {
    my ($type, $code) = unpack 'CC', $rest;
    return undef unless $protocol == 1 ? $type == 3 || $type == 12 : $type < 128;
    my ($about, $inner_source, $inner_destination, $inner_ttl, $inner) = ip_header(substr $rest, 8) or return undef;
    my ($from_port, $port) = unpack 'nn', $inner;
    return undef unless defined $port;
    return "icmp $source 0 $destination 0 $ttl $type/$code of " . word_for($about) . " $inner_source $from_port $inner_destination $port $inner_ttl";
  }
  return undef unless $protocol == IPPROTO_TCP || $protocol == IPPROTO_UDP || $protocol == SCTP;
  my ($from_port, $port) = unpack 'nn', $rest;
  return undef unless defined $port;
  my $what = $protocol == IPPROTO_TCP ? tcp_flags(unpack 'x13C', $rest) : $protocol == SCTP ? chunk_word(unpack 'x12C', $rest) : 'data';
  return word_for($protocol) . " $source $from_port $destination $port $ttl $what";
}

sub ip_header {
  my ($packet) = @_;
  return if length $packet < 24;
  if (ord($packet) >> 4 == 4) {
    my ($first, $ttl, $protocol, $source, $destination) = unpack 'Cx7CCx2a4a4', $packet;
    return ($protocol, inet_ntoa($source), inet_ntoa($destination), $ttl, substr $packet, 4 * ($first & 15));
  }
  return if length $packet < 44;
  my ($protocol, $ttl, $source, $destination) = unpack 'x6CCa16a16', $packet;
  return ($protocol, inet_ntop(AF_INET6, $source), inet_ntop(AF_INET6, $destination), $ttl, substr $packet, 40);
}

sub word_for { return { 6 => 'tcp', 17 => 'udp', 132 => 'sctp' }->{ $_[0] } // $_[0] }
sub tcp_flags { my ($bits) = @_; return join('', map { $bits & $_->[0] ? $_->[1] : '' } [2, 'S'], [4, 'R'], [1, 'F'], [16, 'A']) || 'none' }
sub chunk_word { return { 1 => 'INIT', 2 => 'INIT_ACK', 6 => 'ABORT', 10 => 'COOKIE_ECHO', 11 => 'COOKIE_ACK' }->{ $_[0] } // "chunk$_[0]" }

# --- sockets and packets

sub bound {
  my ($type, $protocol, $address, $port, $ttl) = @_;
  my $six = $address =~ /:/;
  socket(my $socket, $six ? AF_INET6 : AF_INET, $type, $protocol) or return;
  setsockopt $socket, SOL_SOCKET, SO_REUSEADDR, pack('i', 1) if $type == SOCK_STREAM;
  if ($ttl) {
    setsockopt $socket, $six ? IPPROTO_IPV6 : IPPROTO_IP, $six ? IPV6_UNICAST_HOPS : IP_TTL, pack('i', $ttl);
    # Errors that are not final are told at once.
    setsockopt $socket, $six ? IPPROTO_IPV6 : IPPROTO_IP, $six ? IPV6_RECVERR : IP_RECVERR, pack('i', 1);
  }
  bind $socket, packed($address, $port) or return;
  return unblocked($socket);
}

sub unblocked { my ($socket) = @_; fcntl $socket, F_SETFL, O_NONBLOCK; return $socket }
sub packed { my ($address, $port) = @_; return $address =~ /:/ ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $address)) : pack_sockaddr_in($port, inet_aton($address)) }

sub address_of {
  my ($from) = @_;
  return (unpack_sockaddr_in($from))[0], inet_ntoa((unpack_sockaddr_in($from))[1]) if sockaddr_family($from) == AF_INET;
  my ($port, $address) = unpack_sockaddr_in6($from);
  return $port, inet_ntop(AF_INET6, $address) =~ s/^::ffff:(?=\d+\.)//r;
}

sub send_sctp {
  my ($socket, $from, $to, @chunk) = @_;
  send $socket, sctp_packet($from->[1], $to->[1], @chunk), 0, packed($to->[0], 0);
}

# A packet of one chunk. Conntrack takes one whose CRC32c is not right for INVALID.
sub sctp_packet {
  my ($from_port, $port, $tag, $chunk, $body) = @_;
  my $tail = pack('CCn', $chunk, 0, 4 + length $body) . padded($body);
  return pack('nnNV', $from_port, $port, $tag, crc32c(pack('nnNV', $from_port, $port, $tag, 0) . $tail)) . $tail;
}

sub padded { return $_[0] . "\0" x (-length($_[0]) % 4) }

my @crc;
sub crc32c {
  @crc = map { my $c = $_; $c = $c & 1 ? 0x82f63b78 ^ $c >> 1 : $c >> 1 for 1 .. 8; $c } 0 .. 255 unless @crc;
  my $sum = 0xffffffff;
  $sum = $crc[($sum ^ $_) & 255] ^ $sum >> 8 for unpack 'C*', $_[0];
  return $sum ^ 0xffffffff;
}
