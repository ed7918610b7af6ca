# Makes samples for report/ of lines "SIDE @ UNIT VALUE NAME", where SIDE is ours or the peer's. prefix goes before each
# name, peer is the peer's name, goals has "NAME=GOAL" with semicolons between.
BEGIN {
    n = split(goals, list, ";")
    for (i = 1; i <= n; i++) { split(list[i], g, "="); goal[g[1]] = g[2] }
}
$2 == "@" {
    name = $5
    for (i = 6; i <= NF; i++) name = name " " $i
    if (!(name in unit)) order[++names] = name
    unit[name] = $3
    side = $1 == "ours" ? "ours" : "peer"
    values[name, side] = values[name, side] (values[name, side] == "" ? "" : ",") $4
}
END {
    for (i = 1; i <= names; i++) {
        name = order[i]
        printf "{\"name\":\"%s: %s\",\"unit\":\"%s\",\"peer_name\":\"%s\",\"more\":true,\"goal\":%s,\"ours\":[%s],\"peer\":[%s]}\n", \
            prefix, name, unit[name], peer, (name in goal) ? goal[name] : 0, values[name, "ours"], values[name, "peer"]
    }
}
