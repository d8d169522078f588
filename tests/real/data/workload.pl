# Hashes, arrays, strings, regular expressions, closures, references, sorting, eval, fork: prints digests only.
use strict;
use warnings;
use Digest::SHA qw(sha1_hex);

my $n = shift // 50_000;
my $seed = 12345;
sub rnd { $seed = ($seed * 1103515245 + 12345) & 0x7fffffff; return $seed % $_[0] }

my (%h, @a);
for my $i (1 .. $n) {
    my $k = join '', map { chr(97 + rnd(26)) } 1 .. 3 + rnd(8);
    push @{$h{$k}{list}}, $i;
    $h{$k}{text} .= "$i,";
    push @a, $k;
    delete $h{$a[rnd(scalar @a)]} if rnd(4) == 0;
}
my @keys = sort keys %h;
print "keys ", scalar @keys, " ", sha1_hex(join ',', map { "$_=" . ($h{$_}{text} // '') } @keys), "\n";

my @sorted = sort { length($a) <=> length($b) || $b cmp $a } @a;
print "sorted ", sha1_hex("@sorted"), "\n";

my $text = "@a";
my %count;
$count{lc $1}++ while $text =~ /\b([a-m]\w{2,5})\b/g;
(my $swapped = $text) =~ s/(\w)(\w+)/$2$1/g;
print "matches ", scalar(keys %count), " ", sha1_hex($swapped), "\n";

my @subs = map { my $x = $_; sub { $x += $_[0]; return $x } } 1 .. 2000;
my $sum = 0;
for my $round (1 .. 20) { $sum += $_->($round) for @subs }
print "closures $sum\n";

my $big = '';
for my $i (1 .. 200) { $big .= chr(65 + $i % 26) x (1000 + $i * 37); $big = substr($big, 0, 300_000) if length $big > 600_000 }
print "big ", length $big, " ", sha1_hex($big), "\n";

my $died = 0;
for my $i (1 .. 2000) { eval { die { code => $i, text => "x" x ($i % 500) } }; $died += $@->{code} if ref $@ }
print "died $died\n";

my $packed = join '', map { pack 'NnCa*', $_, $_ & 0xffff, $_ & 0xff, "v$_" } 1 .. 5000;
print "packed ", sha1_hex($packed), "\n";

my $results = '';
for my $child (1 .. 8) {
    pipe my $read, my $write or die;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        close $read;
        my %own = map { $_ => "$child-$_" x 3 } 1 .. 5000;
        delete @own{grep { $_ % 3 == 0 } keys %own};
        print $write sha1_hex(join ' ', map { "$_$own{$_}" } sort keys %own);
        close $write;
        exit 0;
    }
    close $write;
    $results .= <$read>;
    waitpid $pid, 0;
    $results .= "($?)";
}
print "children ", sha1_hex($results), " $results\n";
