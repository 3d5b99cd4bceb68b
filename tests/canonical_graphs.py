"""Canonical Subgraphs beyond the examples, which no tokenizer makes yet."""

from __future__ import annotations

GRAPHS = {
    "mean over two axes": """
subgraph @g
axis b
axis m
axis h = 3
axis n
%x = parameter : f32[b][m][h][n]
%0 = reduce %x {monoid=sum, over=(h, n)} : f32[b][m]
%y = result %0 {order=(0, 1)} : f32[b][m]
""",
    "product over two axes": """
subgraph @g
axis b
axis m
axis h = 3
axis d = 4
axis n
%x = parameter : f32[b][m][h d]
%w = parameter : f32[n][h d]
%0 = brgemm %x %w {over=(h, d)} : f32[b][m][n]
%1 = tanh %0 : f32[b][m][n]
%y = result %1 {order=(0, 1, 2)} : f32[b][m][n]
""",
    "softmax of static rows": """
subgraph @g
axis b
axis m
axis n = 10
%x = parameter : f32[b][m][n]
%0 = reduce %x {monoid=max, over=(n)} : f32[b][m]
%1 = sub %x %0 : f32[b][m][n]
%2 = exp %1 : f32[b][m][n]
%3 = reduce %2 {monoid=sum, over=(n)} : f32[b][m]
%4 = div %2 %3 : f32[b][m][n]
%y = result %4 {order=(0, 1, 2)} : f32[b][m][n]
""",
    "sum of a vector": """
subgraph @g
axis n
%x = parameter : f32[n]
%0 = reduce %x {monoid=sum, over=(n)} : f32
%1 = exp %0 : f32
%y = result %1 {order=()} : f32
""",
    "softmax of a vector": """
subgraph @g
axis n
%x = parameter : f32[n]
%0 = reduce %x {monoid=max, over=(n)} : f32
%1 = sub %x %0 : f32[n]
%2 = exp %1 : f32[n]
%3 = reduce %2 {monoid=sum, over=(n)} : f32
%4 = div %2 %3 : f32[n]
%y = result %4 {order=(0)} : f32[n]
""",
    "matrix times vector": """
subgraph @g
axis n
axis d
%x = parameter : f32[d]
%w = parameter : f32[n][d]
%0 = brgemm %x %w {over=(d)} : f32[n]
%y = result %0 {order=(0)} : f32[n]
""",
    "transposed operand": """
subgraph @g
axis m
axis n
%x = parameter : f32[m][n]
%z = parameter : f32[n][m]
%0 = add %x %z : f32[m][n]
%y = result %0 {order=(0, 1)} : f32[m][n]
""",
    "copy": """
subgraph @g
axis m
axis n
%x = parameter : f32[m][n]
%y = result %x {order=(0, 1)} : f32[m][n]
""",
    "outer product": """
subgraph @g
axis m
axis n
%x = parameter : f32[m]
%z = parameter : f32[n]
%0 = mul %x %z : f32[m][n]
%y = result %0 {order=(0, 1)} : f32[m][n]
""",
    "constant result": """
subgraph @g
axis m
axis n
%x = parameter : f32[m][n]
%c = constant {value=2.0} : f32
%0 = reduce %x {monoid=max, over=(n)} : f32[m]
%1 = add %0 %c : f32[m]
%y = result %1 {order=(0)} : f32[m]
%z = result %c {order=()} : f32
""",
    "three products": """
subgraph @g
axis m
axis d = 4
axis n
axis e = 4
axis f
axis g = 3
%x = parameter : f32[m][d]
%w = parameter : f32[n][d]
%v = parameter : f32[n][e]
%u = parameter : f32[e][g]
%0 = brgemm %x %w {over=(d)} : f32[m][n]
%1 = tanh %0 : f32[m][n]
%2 = brgemm %1 %v {over=(n)} : f32[m][e]
%3 = tanh %2 : f32[m][e]
%4 = brgemm %3 %u {over=(e)} : f32[m][g]
%y = result %4 {order=(0, 1)} : f32[m][g]
""",
    "layer norm": """
subgraph @g
axis m
axis n = 12
%x = parameter : f32[m][n]
%c = scalar : f32
%0 = reduce %x {monoid=sum, over=(n)} : f32[m]
%1 = div %0 %c : f32[m]
%2 = sub %x %1 : f32[m][n]
%3 = mul %2 %2 : f32[m][n]
%4 = reduce %3 {monoid=sum, over=(n)} : f32[m]
%5 = div %4 %c : f32[m]
%6 = sqrt %5 : f32[m]
%7 = div %2 %6 : f32[m][n]
%y = result %7 {order=(0, 1)} : f32[m][n]
%y2 = result %1 {order=(0)} : f32[m]
""",
    "range of rows": """
subgraph @g
axis m
axis n
%x = parameter : f32[m][n]
%0 = reduce %x {monoid=max, over=(n)} : f32[m]
%1 = reduce %x {monoid=min, over=(n)} : f32[m]
%2 = sub %0 %1 : f32[m]
%3 = div %x %2 : f32[m][n]
%y = result %3 {order=(0, 1)} : f32[m][n]
""",
    "vector against rows": """
subgraph @g
axis b
axis n
axis d = 4
%x = parameter : f32[b][d]
%w = parameter : f32[b][n][d]
%0 = brgemm %x %w {over=(d)} : f32[b][n]
%1 = reduce %0 {monoid=max, over=(n)} : f32[b]
%2 = sub %0 %1 : f32[b][n]
%3 = exp %2 : f32[b][n]
%y = result %3 {order=(0, 1)} : f32[b][n]
""",
    "indices": """
subgraph @g
axis b
axis m
axis n
axis d = 4
%x = parameter : f32[b][m][d]
%w = parameter : f32[b][n][d]
%0 = brgemm %x %w {over=(d)} : f32[b][m][n]
%i = iota {axis=m} : i32[m]
%j = iota {axis=n} : i32[n]
%k = ge %i %j : i1[m][n]
%f = constant {value=-inf} : f32
%1 = where %k %0 %f : f32[b][m][n]
%2 = reduce %1 {monoid=larger, over=(n)} : f32[b][m]
%3 = sub %1 %2 : f32[b][m][n]
%4 = exp %3 : f32[b][m][n]
%5 = brgemm %4 %w {over=(n)} : f32[b][m][d]
%y = result %5 {order=(0, 1, 2)} : f32[b][m][d]
""",
    "weights and sums stored": """
subgraph @g
axis b
axis m
axis n
axis d = 4
axis e = 6
%x = parameter : f32[b][m][d]
%w = parameter : f32[b][n][d]
%v = parameter : f32[b][n][e]
%0 = brgemm %x %w {over=(d)} : f32[b][m][n]
%2 = reduce %0 {monoid=larger, over=(n)} : f32[b][m]
%3 = sub %0 %2 : f32[b][m][n]
%4 = exp %3 : f32[b][m][n]
%7 = reduce %4 {monoid=sum, over=(n)} : f32[b][m]
%8 = div %4 %7 : f32[b][m][n]
%5 = brgemm %8 %v {over=(n)} : f32[b][m][e]
%y = result %5 {order=(0, 1, 2)} : f32[b][m][e]
%z = result %8 {order=(0, 1, 2)} : f32[b][m][n]
%l = result %7 {order=(0, 1)} : f32[b][m]
""",
    "reduction of a reduction": """
subgraph @g
axis m
axis n
axis e = 5
%x = parameter : f32[m][n][e]
%0 = reduce %x {monoid=sum, over=(n)} : f32[m][e]
%1 = tanh %0 : f32[m][e]
%2 = reduce %1 {monoid=max, over=(e)} : f32[m]
%y = result %2 {order=(0)} : f32[m]
""",
    "mean over heads": """
subgraph @g
axis b
axis m
axis n
axis d = 5
axis e = 5
axis g = 2
%x = parameter : f32[b][g][m][d]
%w = parameter : f32[b][g][n][d]
%v = parameter : f32[b][g][n][e]
%0 = brgemm %x %w {over=(d)} : f32[b][g][m][n]
%1 = exp %0 : f32[b][g][m][n]
%2 = reduce %1 {monoid=sum, over=(n)} : f32[b][g][m]
%3 = brgemm %1 %v {over=(n)} : f32[b][g][m][e]
%4 = div %3 %2 : f32[b][g][m][e]
%5 = reduce %4 {monoid=sum, over=(g)} : f32[b][m][e]
%y = result %5 {order=(0, 1, 2)} : f32[b][m][e]
""",
    "maximum of a product": """
subgraph @g
axis m
axis n
axis d = 5
axis e = 5
%x = parameter : f32[m][d]
%w = parameter : f32[d][e]
%0 = brgemm %x %w {over=(d)} : f32[m][e]
%1 = tanh %0 : f32[m][e]
%2 = reduce %1 {monoid=max, over=(e)} : f32[m]
%3 = sub %1 %2 : f32[m][e]
%y = result %3 {order=(0, 1)} : f32[m][e]
""",
    "merged dims": """
subgraph @g
axis b
axis h
axis m
axis n
axis d = 5
axis e = 5
axis g = 2
%x = parameter : f32[b][g h][m][d]
%w = parameter : f32[b][h][n][d]
%v = parameter : f32[b][h][n][e]
%0 = brgemm %x %w {over=(d)} : f32[b][g][h][m][n]
%1 = exp %0 : f32[b][g][h][m][n]
%2 = reduce %1 {monoid=sum, over=(n)} : f32[b][g][h][m]
%3 = brgemm %1 %v {over=(n)} : f32[b][g][h][m][e]
%4 = div %3 %2 : f32[b][g][h][m][e]
%y = result %4 {order=(0, 2, 1)} : f32[b][m][g h e]
""",
    "statistics without lanes": """
subgraph @g
axis m
axis n
axis d = 5
axis e = 5
%x = parameter : f32[m][d]
%w = parameter : f32[n][d]
%v = parameter : f32[n][e]
%k = parameter : f32[n]
%kk = exp %k : f32[n]
%ks = reduce %kk {monoid=sum, over=(n)} : f32
%kn = div %kk %ks : f32[n]
%0 = brgemm %x %w {over=(d)} : f32[m][n]
%1 = mul %0 %kn : f32[m][n]
%3 = brgemm %1 %v {over=(n)} : f32[m][e]
%y = result %3 {order=(0, 1)} : f32[m][e]
""",
    "product of weights": """
subgraph @g
axis m
axis n
axis d = 5
axis e = 5
%w = parameter : f32[n][d]
%v = parameter : f32[n][e]
%x = parameter : f32[m][d]
%0 = brgemm %w %v {over=(n)} : f32[d][e]
%1 = brgemm %x %0 {over=(d)} : f32[m][e]
%y = result %1 {order=(0, 1)} : f32[m][e]
""",
    "norm before products": """
subgraph @g
axis m
axis n
axis d = 5
axis e = 5
%x = parameter : f32[m][d]
%g = parameter : f32[d]
%w = parameter : f32[n][d]
%v = parameter : f32[n][e]
%c = scalar : f32
%a = mul %x %x : f32[m][d]
%b = reduce %a {monoid=sum, over=(d)} : f32[m]
%bb = sqrt %b : f32[m]
%xx = div %x %bb : f32[m][d]
%xg = mul %xx %g : f32[m][d]
%0 = brgemm %xg %w {over=(d)} : f32[m][n]
%1 = sigmoid %0 : f32[m][n]
%2 = mul %1 %0 : f32[m][n]
%3 = brgemm %2 %v {over=(n)} : f32[m][e]
%y = result %3 {order=(0, 1)} : f32[m][e]
""",
    "keys of two axes": """
subgraph @g
axis b
axis m
axis n
axis d = 5
axis e = 5
%q = parameter {parts=(((b), (m.0, m.1), (d)), ((m, (m.0, m.1))))} : f32[b][m][d]
%k = parameter {parts=(((b), (n.0, n.1), (d)), ((n, (n.0, n.1))))} : f32[b][n][d]
%v = parameter {parts=(((b), (n.0), (n.1), (e)), ((n, (n.0, n.1))))} : f32[b][][n][e]
%h = parameter
  {parts=(((b), (m.0), (m.1), (n.0)), ((m, (m.0, m.1)), (n, (n.0, n.1))))} : f32[b][][m][n]
%w = parameter
  {parts=(((n.1), (b), (m.0, m.1)), ((m, (m.0, m.1)), (n, (n.0, n.1))))} : f32[n][b][m]
%0 = brgemm %q %k {over=(d)} : f32[b][m][n]
%1 = add %0 %h : f32[b][m][n]
%2 = add %1 %w : f32[b][m][n]
%3 = reduce %2 {monoid=larger, over=(n)} : f32[b][m]
%4 = sub %2 %3 : f32[b][m][n]
%5 = exp %4 : f32[b][m][n]
%6 = reduce %5 {monoid=sum, over=(n)} : f32[b][m]
%7 = brgemm %5 %v {over=(n)} : f32[b][m][e]
%8 = div %7 %6 : f32[b][m][e]
%y = result %8 {order=(0, 1, 2)} : f32[b][m][e]
""",
    "keys of three axes": """
subgraph @g
axis b
axis m
axis n
axis d = 5
axis e = 5
%q = parameter : f32[b][m][d]
%k = parameter {parts=(((b), (n.0, n.1, n.2), (d)), ((n, (n.0, n.1, n.2))))} : f32[b][n][d]
%v = parameter {parts=(((n.0), (n.1, n.2), (e)), ((n, (n.0, n.1, n.2))))} : f32[][n][e]
%t = parameter {parts=(((b), (m), (n.1)), ((n, (n.0, n.1, n.2))))} : f32[b][m][n]
%h = parameter {parts=(((n.0, n.1), (m)), ((n, (n.0, n.1, n.2))))} : f32[n][m]
%w = parameter {parts=(((n.2)), ((n, (n.0, n.1, n.2))))} : f32[n]
%0 = brgemm %q %k {over=(d)} : f32[b][m][n]
%1 = add %0 %t : f32[b][m][n]
%2 = mul %1 %h : f32[b][m][n]
%3 = add %2 %w : f32[b][m][n]
%4 = reduce %3 {monoid=larger, over=(n)} : f32[b][m]
%5 = sub %3 %4 : f32[b][m][n]
%6 = exp %5 : f32[b][m][n]
%7 = brgemm %6 %v {over=(n)} : f32[b][m][e]
%y = result %7 {order=(0, 1, 2)} : f32[b][m][e]
""",
}
