// Ways to break a report, and the check that must find each.

const style = (css) => (html) => html.replace("</style>", `${css}</style>`);

export const plants = [
  {
    name: "a dead link",
    finds: "links:",
    change: (html) => html.replace(/href="#run-[0-9a-f]+"/, 'href="#run-nowhere"'),
  },
  {
    name: "a link's target that stays folded away",
    finds: "links:",
    change: (html) => html.replace("box.open = true", "box.open = false"),
  },
  {
    name: "a colour of low contrast",
    finds: "axe color-contrast",
    change: style(".lead { color: #aaa; }"),
  },
  {
    name: "a pale text in a figure",
    finds: "picture:",
    change: (html) => html.replace(/(<text [^>]*fill=")#[0-9A-Fa-f]{6}"/, '$1#C0C0C0"'),
  },
  {
    name: "a figure without a text for screen readers",
    finds: "picture:",
    change: (html) => html.replace(/(<svg[^>]*>\s*)<title>[^<]*<\/title>/, "$1"),
  },
  {
    name: "a missing claim",
    finds: "claims:",
    change: (html) => html.replace(/<tr[^>]*>\s*<th[^>]*><a href="#claim-[\s\S]*?<\/tr>/, ""),
  },
  {
    name: "another verdict",
    finds: "claims:",
    change: (html) => html.replace(/(verdict-cell"><span class="verdict [a-z]+"><span aria-hidden="true">[^<]*<\/span> )[a-z]+(<\/span>)/, "$1proven$2"),
  },
  {
    name: "a request",
    finds: "request:",
    change: (html) => html.replace("<header>", '<header><img alt="a" src="http://127.0.0.1:9/a.png">'),
  },
  {
    name: "an exception that nobody catches",
    finds: "script error:",
    change: (html) => html.replace("<script>", "<script>setTimeout(() => { throw new Error('planted'); });"),
  },
  {
    name: "something wider than a phone",
    finds: "layout:",
    change: style("h1 { min-width: 500px; }"),
  },
  {
    name: "something wider than the paper",
    finds: "print:",
    change: style("@media print { h1 { min-width: 900px; } }"),
  },
  {
    name: "no column of published values",
    finds: "numbers:",
    change: (html) => html.replaceAll(/<th [^>]*>Published<\/th>/g, '<th scope="col">?</th>'),
  },
  {
    name: "a run without the command that redoes it",
    finds: "numbers:",
    change: (html) => html.replace(/Redo: <code>[^<]*<\/code>/, ""),
  },
  {
    name: "no data hash",
    finds: "provenance:",
    change: (html) => html.replaceAll(/<dt>Data: [^<]*<\/dt>/g, "<dt>Data</dt>"),
  },
  {
    name: "a file that is not what the manifest says",
    finds: "archive:",
    change: (html) => `${html}<!-- changed -->`,
  },
];
