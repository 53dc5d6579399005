import sys
from pathlib import Path
from facts import read_facts
from decisions import load, decide
from names import group
from lay import rates_of
import re
F=read_facts(Path(sys.argv[1])); print(decide(F,load()))
want=sys.argv[2]; rx=re.compile(sys.argv[3] if len(sys.argv)>3 else '.')
for m in group(f for f in F if f.provider==want):
    if not rx.search(m.id): continue
    print('##',m.provider,m.currency,m.id,m.aliases)
    for r in rates_of(m):
        print('   ',r.start,'E' if r.dated else 'o','until '+r.until if r.until else '',sorted(r.families)[:6])
        for s,p in sorted(r.prices.items(),key=lambda x:(x[0].when,x[0].component,x[0].tier)):
            print('        ',s.component,p,dict(s.when) or '',s.tier or '')
