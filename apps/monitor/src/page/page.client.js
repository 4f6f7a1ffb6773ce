// @ts-check
/**
 * The page: takes states from the server and puts them into the text nodes that changed. Nothing is built anew that
 * was there before, so that nothing jumps, and what a reader has opened, selected or focused stays.
 *
 * @typedef {import('../describe-page.ts').PageState} PageState
 * @typedef {import('../describe-servers.ts').ServerView} ServerView
 * @typedef {import('../describe-servers.ts').ChartView} ChartView
 * @typedef {import('../figure.ts').Figure} Figure
 */
(() => {
  'use strict';

  const POLL_MILLISECONDS = 2000;
  /** Without news for so long the connection is dead, whatever the browser thinks of it. */
  const SILENCE_MILLISECONDS = 10_000;

  /** @type {(id: string) => HTMLElement} */
  const byId = (id) => {
    const found = document.getElementById(id);
    if (found === null) throw new Error(`no element ${id}`);
    return found;
  };

  /** @type {<Kind extends Element>(root: ParentNode, selector: string, kind: new () => Kind) => Kind} */
  const pick = (root, selector, kind) => {
    const found = root.querySelector(selector);
    if (!(found instanceof kind)) throw new Error(`no element ${selector}`);
    return found;
  };

  /** @type {(element: Element, text: string) => void} */
  const setText = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  /** @type {(element: Element, name: string, value: string) => void} */
  const setAttribute = (element, name, value) => {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  };

  /** @type {(tag: string, className: string, text?: string) => HTMLElement} */
  const create = (tag, className, text = '') => {
    const element = document.createElement(tag);
    if (className !== '') element.className = className;
    element.textContent = text;
    return element;
  };

  /** @type {(element: Element, figure: Figure) => void} */
  const setFigure = (element, figure) => {
    if (element.childElementCount === 0) {
      element.append(
        create('span', 'value'),
        create('span', 'unit'),
        create('span', 'over'),
        create('span', 'hidden'),
      );
    }
    const [value, unit, over, reason] = element.children;
    if (value === undefined || unit === undefined || over === undefined || reason === undefined) return;
    const isKnown = figure.reason === undefined;
    setText(value, figure.text);
    setText(unit, figure.unit ?? '');
    setText(over, figure.over ?? '');
    setText(reason, isKnown ? '' : `unknown: ${figure.reason}`);
    element.classList.toggle('absent', !isKnown);
    if (isKnown) element.removeAttribute('title');
    else setAttribute(element, 'title', figure.reason ?? '');
    setAttribute(value, 'aria-hidden', String(!isKnown));
  };

  /** @type {(data: object, path: string) => unknown} */
  const at = (data, path) =>
    path.split('.').reduce((/** @type {unknown} */ value, key) => Object(value)[key], data);

  /**
   * Fills all that names its own value in the markup.
   * @type {(root: ParentNode, data: object) => void}
   */
  const fill = (root, data) => {
    for (const element of root.querySelectorAll('[data-text]')) {
      setText(element, String(at(data, element.getAttribute('data-text') ?? '') ?? ''));
    }
    for (const element of root.querySelectorAll('[data-figure]')) {
      setFigure(element, /** @type {Figure} */ (at(data, element.getAttribute('data-figure') ?? '')));
    }
  };

  /**
   * Makes a list hold one element for each item, and fills each.
   * @template Item
   * @param {Element} list
   * @param {readonly Item[]} items
   * @param {() => Element} build
   * @param {(element: Element, item: Item) => void} update
   */
  const setList = (list, items, build, update) => {
    while (list.childElementCount > items.length) list.lastElementChild?.remove();
    while (list.childElementCount < items.length) list.append(build());
    items.forEach((item, index) => {
      const element = list.children[index];
      if (element !== undefined) update(element, item);
    });
  };

  /** @type {(...children: readonly Element[]) => Element} */
  const group = (...children) => {
    const element = document.createElement('div');
    element.append(...children);
    return element;
  };

  /** @type {(list: Element, items: readonly { name: string, text: string }[]) => void} */
  const setReasons = (list, items) =>
    setList(
      list,
      items,
      () => group(create('dt', ''), create('dd', '')),
      (element, { name, text }) => {
        setText(pick(element, 'dt', HTMLElement), name);
        setText(pick(element, 'dd', HTMLElement), text);
      },
    );

  /** @type {(svg: Element, chart: ChartView) => void} */
  const drawChart = (svg, { points, peak, summary }) => {
    setAttribute(svg, 'aria-label', summary);
    setAttribute(svg, 'viewBox', `0 0 ${points.length} 40`);
    const top = Math.max(peak.value ?? 0, 1);
    let line = '';
    let area = '';
    let runStart = -1;
    points.forEach((point, index) => {
      if (point === null) return;
      const x = index + 0.5;
      const y = (39 - 37 * (point / top)).toFixed(2);
      const isStart = index === 0 || points[index - 1] === null;
      const isEnd = index === points.length - 1 || points[index + 1] === null;
      if (isStart) {
        runStart = x;
        area += `M${x} 40`;
      }
      line += `${isStart ? 'M' : 'L'}${x} ${y}`;
      if (isStart && isEnd) line += 'h.01';
      area += `L${x} ${y}`;
      if (isEnd) area += `L${x} 40L${runStart} 40Z`;
    });
    setAttribute(pick(svg, '.line', SVGElement), 'd', line);
    setAttribute(pick(svg, '.area', SVGElement), 'd', area);
  };

  /**
   * Keeps no place for what this engine never gives, nor for what a server that is down cannot.
   * @type {(card: Element, view: ServerView) => void}
   */
  const showGiven = (card, { state, chart, neverGiven }) => {
    const isDown = state.level === 'down';
    /** @type {ReadonlySet<string | null>} */
    const never = new Set(neverGiven);
    /** @type {(selector: string, hidden: boolean) => void} */
    const setHidden = (selector, hidden) =>
      card.querySelectorAll(selector).forEach((part) => part.toggleAttribute('hidden', hidden));
    for (const figure of card.querySelectorAll('[data-figure]')) {
      figure.parentElement?.toggleAttribute('hidden', never.has(figure.getAttribute('data-figure')));
    }
    const noChart = chart.peak.value === undefined && (isDown || never.has('generated'));
    const noSpeed = isDown || ['generated', 'prompt', 'cached'].every((name) => never.has(name));
    const noLoad = ['running', 'waiting', 'capacity'].every((name) => never.has(name));
    const noCache = never.has('kvCache');
    setHidden('.speed figure', noChart);
    setHidden('.speed dl', noSpeed);
    setHidden('.speed', noChart && noSpeed);
    setHidden('.load > dl:first-child', noLoad);
    setHidden('.cache, .load .small', noCache);
    setHidden('.load', isDown || (noLoad && noCache));
    setHidden(
      '.latency',
      isDown || ['timeToFirstToken', 'interTokenLatency'].every((name) => never.has(name)),
    );
    setHidden('.figures', card.querySelector('.figures > section:not([hidden])') === null);
  };

  /** @type {(card: Element, view: ServerView) => void} */
  const updateServer = (card, view) => {
    fill(card, view);
    const state = pick(card, '[data-state]', HTMLElement);
    setAttribute(state, 'data-level', view.state.level);
    setAttribute(pick(state, 'use', SVGElement), 'href', `#${view.state.level}`);

    // Of a server that is down nothing is known but its past.
    const isDown = view.state.level === 'down';
    card.classList.toggle('down', isDown);
    showGiven(card, view);
    const inMemory = pick(card, '[data-in-memory]', HTMLElement);
    inMemory.hidden = view.inMemory.length === 0;
    setReasons(pick(inMemory, 'dl', HTMLElement), view.inMemory);

    const models = pick(card, '[data-models]', HTMLElement);
    setList(
      models,
      view.models,
      () => create('span', 'model'),
      (element, model) => setText(element, model),
    );

    const problem = pick(card, '[data-optional=problem]', HTMLElement);
    problem.hidden = view.problem === '';
    problem.classList.toggle('severe', isDown);
    setText(problem, view.problem);

    const meter = pick(card, '[data-meter]', HTMLElement);
    meter.hidden = view.kvCache.value === undefined;
    pick(meter, 'span', HTMLElement).style.setProperty('--full', String(view.kvCache.value ?? 0));
    meter.classList.toggle('tight', (view.kvCache.value ?? 0) >= 0.9);

    drawChart(pick(card, '[data-chart]', SVGElement), view.chart);
    const { peak } = view.chart;
    setText(
      pick(card, '[data-peak]', HTMLElement),
      peak.value === undefined ? '' : `peak ${peak.text} ${peak.unit ?? ''}`,
    );

    pick(card, '[data-no-latencies]', HTMLElement).hidden = view.noLatencies === '';
    pick(card, '.latency table', HTMLElement).hidden = view.noLatencies !== '';
    setList(
      pick(card, '[data-latencies]', HTMLElement),
      view.latencies,
      () => {
        const row = create('tr', '');
        const head = create('th', '');
        head.setAttribute('scope', 'row');
        head.append(create('span', 'name'), create('span', 'small'));
        row.append(head, create('td', ''), create('td', ''));
        return row;
      },
      (row, latency) => {
        const [head, p50, p95] = row.children;
        if (head === undefined || p50 === undefined || p95 === undefined) return;
        setText(pick(head, '.name', HTMLElement), latency.name);
        setText(pick(head, '.small', HTMLElement), latency.covers);
        setFigure(p50, latency.p50);
        setFigure(p95, latency.p95);
      },
    );

    const unsaid = pick(card, '[data-unsaid]', HTMLElement);
    const owed = view.missing.map((name) => ({
      name,
      text: 'expected of this version, and not in its answer',
    }));
    const items = [...view.unsaid, ...owed];
    unsaid.hidden = items.length === 0;
    const count = items.length === 1 ? '1 figure' : `${items.length} figures`;
    setText(pick(unsaid, 'summary', HTMLElement), `What it does not say: ${count}`);
    setReasons(pick(unsaid, 'dl', HTMLElement), items);

    const notes = pick(card, '[data-notes] ul', HTMLElement);
    const about = [`Why it is here: ${view.why}`, ...(isDown ? [] : view.notes)];
    setList(notes, about, () => create('li', ''), setText);
  };

  const servers = byId('servers');
  const template = pick(document, '#server-template', HTMLTemplateElement);
  /** @type {Map<string, Element>} */
  const cards = new Map();
  /** @type {Map<string, string>} */
  const levels = new Map();

  /** @type {(views: readonly ServerView[]) => void} */
  const updateServers = (views) => {
    const there = new Set(views.map(({ server }) => server));
    for (const [server, card] of cards) {
      if (there.has(server)) continue;
      card.remove();
      cards.delete(server);
    }
    views.forEach((view, index) => {
      let card = cards.get(view.server);
      if (card === undefined) {
        card = pick(
          /** @type {DocumentFragment} */ (template.content.cloneNode(true)),
          'article',
          HTMLElement,
        );
        const title = pick(card, 'h2', HTMLElement);
        title.id = `server-${view.server}`;
        card.setAttribute('aria-labelledby', title.id);
        cards.set(view.server, card);
      }
      if (servers.children[index] !== card) servers.insertBefore(card, servers.children[index] ?? null);
      updateServer(card, view);
    });
  };

  /**
   * Says aloud what changed for good or bad; never the figures, which change all the time.
   * @type {(views: readonly ServerView[], isFirst: boolean) => void}
   */
  const announce = (views, isFirst) => {
    /** @type {string[]} */
    const news = [];
    for (const { server, state } of views) {
      const before = levels.get(server);
      if (before === undefined) news.push(`${server} found: ${state.word}`);
      else if ((before === 'down') !== (state.level === 'down')) news.push(`${server}: ${state.word}`);
      levels.set(server, state.level);
    }
    if (news.length > 0 && !isFirst) setText(byId('announcement'), news.join('. '));
  };

  /** @type {(state: PageState) => void} */
  const updateSearch = ({ search, servers: views }) => {
    byId('nothing').hidden = views.length > 0;
    byId('nothing-looking').hidden = !search.discovery || search.isBlind;
    byId('nothing-blind').hidden = !search.discovery || !search.isBlind;
    byId('nothing-off').hidden = search.discovery;
    setList(
      byId('sought'),
      search.sought,
      () => {
        const row = create('tr', '');
        const head = create('th', '');
        head.setAttribute('scope', 'row');
        row.append(head, create('td', ''), create('td', ''), create('td', ''));
        return row;
      },
      (row, { title, programs, ports, enable }) =>
        [title, programs || '–', ports || '–', enable || 'nothing to switch on'].forEach((text, index) => {
          const cell = row.children[index];
          if (cell !== undefined) setText(cell, text);
        }),
    );
    byId('left-alone').hidden = search.leftAlone.length === 0;
    setReasons(
      byId('left-alone-list'),
      search.leftAlone.map(({ address, why }) => ({ name: address, text: why })),
    );
  };

  let isFirst = true;
  let version = '';
  let newsAt = 0;

  /** @type {(state: PageState) => void} */
  const show = (state) => {
    // Another version serves now: its page may know more than this one.
    if (version !== '' && state.version !== version) return location.reload();
    version = state.version;
    newsAt = Date.now();
    fill(pick(document, 'header', HTMLElement), state);
    fill(pick(document, 'body > footer', HTMLElement), state);
    updateServers(state.servers);
    announce(state.servers, isFirst);
    updateSearch(state);
    if (isFirst && state.servers.length === 0) byId('search').setAttribute('open', '');
    setTitle(`${state.headline} · LLM Server Monitor`);
    isFirst = false;
  };

  /** @type {(title: string) => void} */
  const setTitle = (title) => {
    if (document.title !== title) document.title = title;
  };

  /** @type {(live: 'connecting' | 'live' | 'lost', text: string) => void} */
  const showConnection = (live, text) => {
    setAttribute(byId('connection'), 'data-live', live);
    setText(byId('connection-text'), text);
    document.body.classList.toggle('stale', live === 'lost');
  };

  const showLost = () => {
    const time = newsAt === 0 ? '' : `, figures from ${new Date(newsAt).toLocaleTimeString()}`;
    showConnection('lost', `Monitor not reachable${time}`);
  };

  /** @type {(text: string) => void} */
  const take = (text) => {
    show(/** @type {PageState} */ (JSON.parse(text)));
    showConnection('live', 'Live');
  };

  /** @type {EventSource | undefined} */
  let events;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let poll;

  const leave = () => {
    events?.close();
    events = undefined;
    clearTimeout(poll);
  };

  const ask = async () => {
    try {
      const answer = await fetch('/api/state', { signal: AbortSignal.timeout(SILENCE_MILLISECONDS) });
      if (!answer.ok) throw new Error(String(answer.status));
      take(await answer.text());
    } catch {
      showLost(); // the reason stands in the browser's own log; what to do is the same for all
    }
    if (!document.hidden) poll = setTimeout(ask, POLL_MILLISECONDS);
  };

  const listen = () => {
    leave();
    const source = new EventSource('/api/events');
    events = source;
    source.onmessage = ({ data }) => take(String(data));
    source.onerror = () => {
      showLost();
      // Closed for good: refused, or something between does not let events pass. Then it is asked.
      if (source.readyState === EventSource.CLOSED && events === source) {
        leave();
        void ask();
      }
    };
  };

  // A page that nobody sees asks for nothing, and the servers are read less often.
  document.addEventListener('visibilitychange', () => (document.hidden ? leave() : listen()));
  setInterval(() => {
    if (!document.hidden && newsAt !== 0 && Date.now() - newsAt > SILENCE_MILLISECONDS) showLost();
  }, 1000);

  show(/** @type {PageState} */ (JSON.parse(byId('first-state').textContent ?? '')));
  if (!document.hidden) listen();
})();
