// A website of the pages in `pages`, without any package: an example of a pipeline that builds, tests and publishes one.
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';

/** A page of a text: its first line is the title, and empty lines separate paragraphs. */
export function page(text) {
  const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  const [title, ...paragraphs] = escaped.trim().split(/\n\n+/);
  const body = paragraphs.map((paragraph) => `<p>${paragraph}</p>`).join('\n');
  return `<!doctype html>\n<meta charset="utf-8">\n<title>${title}</title>\n<h1>${title}</h1>\n${body}\n`;
}

export async function build(from, to) {
  await mkdir(to, { recursive: true });
  const texts = (await readdir(from)).filter((name) => name.endsWith('.txt')).sort();
  for (const name of texts) {
    const text = await readFile(`${from}/${name}`, 'utf8');
    await writeFile(`${to}/${name.replace(/\.txt$/, '.html')}`, page(text));
  }
  return texts.length;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  console.log(await build('pages', 'dist'));
}
