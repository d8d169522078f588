# Hashes, lists, regular expressions. Argument: rounds.
use strict;
use warnings;

my $total = 0;
for my $round (1 .. $ARGV[0]) {
    my (%count, @rows);
    for my $i (1 .. 20000) {
        $count{'word' . ($i * 104729 % 5003)}++;
        push @rows, { id => $i, name => "n$i", tags => [ $i % 7, $i % 11 ] };
    }
    my $text = join ' ', map { "$_=$count{$_}" } sort keys %count;
    $total++ while $text =~ /(\w+)=(\d+)/g;
    $text =~ s/word(\d)/w-$1-/g;
    my @parts = split / /, $text;
    $total += scalar(@parts) + length $text;
    $total += scalar grep { $_->{tags}[0] == 3 } @rows;
    my @sorted = sort { $a->{name} cmp $b->{name} } @rows;
    $total += length $sorted[0]{name};
}
print "total $total\n";
