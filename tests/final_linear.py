"""A small final LinearIR with a tail, a product, panels and buffers that share memory."""

FINAL = """\
linear @g lanes m x 4
axis b
axis m
axis n
axis d = 6
input %x : f32[b][n][m]
input %w : f32[n][d]
input %v : f32[d]
output %y : f32[b][n][m] order 0 1 2
scalar %scale
parallel b step 1 moves %x by stride %y by stride {
  parallel m step 16 moves %x by 1 %y by 1 {
    buffer %c : f32[m:16] at 0
    for m step 8 masked moves %c by 1 rewind {
      %zero = fill {value=0.0} : f32[m]
      store %c %zero : f32[m]
    }
    for n step 8 moves %x by stride %w by stride %y by stride {
      for m step 8 masked moves %x by 1 rewind %c by 1 rewind %y by 1 rewind {
        buffer %s : f32[n:8][m:8] at 64
        buffer %t : f32[n:8][m:8] at 64
        for n step 2 moves %w by stride %x by stride %s by 8 {
          %a = fill {value=0.0} : f32[n]
          for d step 2 moves %w by 1 rewind %v by 1 rewind {
            %w.tile = load %w : f32[n d]
            %v.tile = load %v : f32[d]
            %a = fma %w.tile %v.tile %a {over=(d)} : f32[n]
          }
          %x.tile = load %x : f32[b n m]
          %0 = mul %x.tile %a : f32[b n m]
          store %s %0 : f32[b n m]
        } tail 1 moves %w by stride rewind %x by stride rewind %s by 8 rewind {
          %a = fill {value=0.0} : f32[n]
          for d step 2 moves %w by 1 rewind %v by 1 rewind {
            %w.tile = load %w : f32[n d]
            %v.tile = load %v : f32[d]
            %a = fma %w.tile %v.tile %a {over=(d)} : f32[n]
          }
          %x.tile = load %x : f32[b n m]
          %0 = mul %x.tile %a : f32[b n m]
          store %s %0 : f32[b n m]
        }
        %sum = load %c : f32[m]
        for n step 1 moves %s by 8 rewind %t by 8 rewind {
          %1 = load %s : f32[b n m]
          %2 = exp %1 : f32[b n m]
          store %t %2 : f32[b n m]
          %3 = horizon %2 {monoid=sum, over=(n)} : f32[b m]
        }
        store %c %sum : f32[m]
        for n step 1 moves %t by 8 rewind %y by stride rewind {
          %4 = load %t : f32[b n m]
          %5 = mul %4 %scale : f32[b n m]
          store %y %5 : f32[b n m]
        }
      }
    }
  }
}
"""
