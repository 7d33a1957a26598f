#!/bin/sh
# Two homes, each behind a NAT of the kernel's, and a square in the world, as network namespaces. Wants root, iproute2 and nftables.
#   two-homes.sh [FLAGS]     makes them; FLAGS are those of nftables' masquerade: with random,fully-random both NATs are hard
#   two-homes.sh remove      ends what runs in them, and removes them
set -e
node=${NODE:-$(dirname "$0")/../target/release/node-client}
homes=${HOMES:-anjer} # how the names of the namespaces begin
stun=/run/$homes-square-stun
[ "$1" = remove ] || [ -x "$node" ] || { echo "there is no $node: build it, or say where it is with NODE=" >&2; exit 1; }
for name in ann ben ann-nat ben-nat square; do
    ip netns pids "$homes-$name" 2>/dev/null | xargs -r kill 2>/dev/null || true
    ip netns delete "$homes-$name" 2>/dev/null || true
    [ "$1" = remove ] || ip netns add "$homes-$name"
done
[ "$1" != remove ] || { rm -rf "$stun"; exit 0; }
inside() { ip -n "$homes-$1" -batch -; }
printf '%s\n' "link add world type bridge" "address add 192.0.2.1/24 dev world" "address add 192.0.2.2/24 dev world" "link set world up" "link set lo up" | inside square
for home in ann:11 ben:12; do
    name=${home%:*} address=192.0.2.${home#*:}
    printf '%s\n' "link add wan type veth peer name $name netns $homes-square" "link add lan type veth peer name eth0 netns $homes-$name" \
        "address add $address/24 dev wan" "address add 10.0.0.1/24 dev lan" "link set wan up" "link set lan up" | inside "$name-nat"
    printf '%s\n' "address add 10.0.0.2/24 dev eth0" "link set eth0 up" "route add default via 10.0.0.1" | inside "$name"
    echo "link set $name master world up" | inside square
    ip netns exec "$homes-$name-nat" sysctl -qw net.ipv4.ip_forward=1
    ip netns exec "$homes-$name-nat" nft "table ip home {
        chain leave { type nat hook postrouting priority srcnat; oifname wan masquerade $1; }
        chain come { type filter hook input priority filter; iifname wan drop; }
    }"
done
# Every node answers STUN: this one does nothing else.
ip netns exec "$homes-square" sh -c 'sleep infinity | "$0" --json --ip 192.0.2.2 --port 7000 --stun 192.0.2.1:9 --state "$1"' "$node" "$stun" >/dev/null 2>&1 &
tries=100
until ip netns exec "$homes-square" ss -Hlun 'sport = 7000' | grep -q .; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { echo "the node that answers STUN did not start: $node" >&2; exit 1; }
    sleep 0.1
done
