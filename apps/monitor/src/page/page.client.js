// @ts-check
/**
 * The page: takes states from the server and puts them into the text nodes that changed. Nothing is built anew that
 * was there before, so that nothing jumps, and what a reader has opened, selected or focused stays.
 *
 * @typedef {import('../describe-page.ts').PageState} PageState
 * @typedef {import('../describe-page.ts').PageServer} ServerView
 * @typedef {import('../describe-gpus.ts').GpusView} GpusView
 * @typedef {import('../describe-gpus.ts').GpuView} GpuView
 * @typedef {import('../chart.ts').ChartView} ChartView
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

  /**
   * Shows the state by color and sign beside its word.
   * @type {(card: Element, level: string) => void}
   */
  const showState = (card, level) => {
    const state = pick(card, '[data-state]', HTMLElement);
    setAttribute(state, 'data-level', level);
    setAttribute(pick(state, 'use', SVGElement), 'href', `#${level}`);
    card.classList.toggle('down', level === 'down');
  };

  /** @type {(card: Element, chart: ChartView) => void} */
  const showChart = (card, chart) => {
    drawChart(pick(card, '[data-chart]', SVGElement), chart);
    const { value, text, unit } = chart.peak;
    setText(pick(card, '[data-peak]', HTMLElement), value === undefined ? '' : `peak ${text} ${unit ?? ''}`);
  };

  /** @type {(meter: HTMLElement, value: number | undefined) => void} */
  const showMeter = (meter, value) => {
    meter.hidden = value === undefined;
    pick(meter, 'span', HTMLElement).style.setProperty('--full', String(value ?? 0));
    meter.classList.toggle('tight', (value ?? 0) >= 0.9);
  };

  /** @type {(card: Element, view: ServerView) => void} */
  const updateServer = (card, view) => {
    fill(card, view);
    // Of a server that is down nothing is known but its past.
    const isDown = view.state.level === 'down';
    showState(card, view.state.level);
    showGiven(card, view);
    pick(card, '[data-optional=on-gpus]', HTMLElement).hidden = view.onGpus === '';
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
    problem.classList.toggle('severe', isFault(view.state.level));
    setText(problem, view.problem);

    showMeter(pick(card, '[data-meter]', HTMLElement), view.kvCache.value);
    showChart(card, view.chart);

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

  /** @type {(card: Element, view: GpuView) => void} */
  const updateGpu = (card, view) => {
    fill(card, view);
    showState(card, view.state.level);
    const isUp = view.state.level !== 'down' && view.state.level !== 'quiet';

    const problem = pick(card, '[data-problem]', HTMLElement);
    problem.hidden = view.problem.text === '';
    problem.classList.toggle('severe', view.state.level === 'down');
    problem.classList.toggle('calm', view.state.level === 'quiet');
    pick(problem, 'p:last-child', HTMLElement).hidden = view.problem.command === '';

    const users = pick(card, '[data-users]', HTMLElement);
    users.hidden = view.users.length === 0;
    setList(
      users,
      view.users,
      () => {
        const item = create('li', '');
        item.append(create('span', 'name'), create('span', 'memory'), create('span', 'small'));
        return item;
      },
      (item, { name, isModel, detail, memory }) => {
        setText(pick(item, '.name', HTMLElement), name);
        pick(item, '.name', HTMLElement).classList.toggle('model', isModel);
        setText(pick(item, '.memory', HTMLElement), memory);
        setText(pick(item, '.small', HTMLElement), detail);
      },
    );
    const note = pick(card, '[data-users-note]', HTMLElement);
    note.hidden = view.usersNote === '';
    setText(note, view.usersNote);

    pick(card, '[data-readings]', HTMLElement).hidden = !isUp;
    pick(card, '[data-past]', HTMLElement).hidden = view.chart.peak.value === undefined;
    showChart(card, view.chart);

    const memories = pick(card, '[data-memories]', HTMLElement);
    memories.hidden = view.memories.length === 0;
    setList(
      memories,
      view.memories,
      () => {
        const label = create('p', 'label');
        label.append(create('span', 'small'), create('span', 'amount'));
        const meter = create('div', 'meter');
        meter.append(create('span', ''));
        return group(label, meter);
      },
      (element, { name, text, value }) => {
        setText(pick(element, '.small', HTMLElement), name);
        setText(pick(element, '.amount', HTMLElement), text);
        showMeter(pick(element, '.meter', HTMLElement), value);
      },
    );
    pick(card, '[data-held-back]', HTMLElement).hidden = view.heldBack === '';
    setReasons(pick(card, '[data-facts]', HTMLElement), view.facts);
  };

  /**
   * Keeps a card for each view, in their order. What it fills stays: nothing is built anew that was there before.
   * @template View
   * @param {string} list
   * @param {string} template
   * @param {(view: View) => string} keyOf
   * @param {(card: Element, view: View) => void} update
   * @returns {(views: readonly View[]) => void}
   */
  const cardsOf = (list, template, keyOf, update) => {
    const root = byId(list);
    const { content } = pick(document, template, HTMLTemplateElement);
    /** @type {Map<string, Element>} */
    const cards = new Map();
    return (views) => {
      const there = new Set(views.map(keyOf));
      for (const [key, card] of cards) {
        if (there.has(key)) continue;
        card.remove();
        cards.delete(key);
      }
      views.forEach((view, index) => {
        const key = keyOf(view);
        let card = cards.get(key);
        if (card === undefined) {
          card = pick(/** @type {DocumentFragment} */ (content.cloneNode(true)), 'article', HTMLElement);
          const title = pick(card, 'header > :first-child', HTMLElement);
          title.id = `${list}-${key}`;
          card.setAttribute('aria-labelledby', title.id);
          cards.set(key, card);
        }
        if (root.children[index] !== card) root.insertBefore(card, root.children[index] ?? null);
        update(card, view);
      });
    };
  };

  /** @type {(views: readonly ServerView[]) => void} */
  const updateServers = cardsOf('servers', '#server-template', ({ server }) => server, updateServer);
  /** @type {(views: readonly GpuView[]) => void} */
  const updateGpuCards = cardsOf('gpus', '#gpu-template', ({ uuid }) => uuid, updateGpu);

  /** @type {(view: GpusView) => void} */
  const updateGpus = ({ shown, gpus, problems, line }) => {
    byId('gpus-section').hidden = !shown || (gpus.length === 0 && line === '');
    byId('gpus-line').hidden = line === '';
    setText(byId('gpus-line'), line);
    setList(
      byId('gpus-problems'),
      problems,
      () => {
        const problem = create('div', 'problem severe');
        const command = create('p', '');
        command.append(create('code', ''));
        problem.append(create('p', ''), command);
        return problem;
      },
      (problem, { text, command }) => {
        setText(pick(problem, 'p', HTMLElement), text);
        setText(pick(problem, 'code', HTMLElement), command);
      },
    );
    updateGpuCards(gpus);
  };

  /** @type {Map<string, string>} */
  const levels = new Map();

  /** @type {(level: string) => boolean} */
  const isFault = (level) => level === 'down' || level === 'stuck';

  /**
   * Says aloud what changed for good or bad; never the figures, which change all the time.
   * @type {(state: PageState, isFirst: boolean) => void}
   */
  const announce = ({ servers, gpus }, isFirst) => {
    /** @type {string[]} */
    const news = [];
    const things = [
      ...servers.map(({ server, state }) => ({ key: `server ${server}`, name: server, state })),
      ...gpus.gpus.map(({ uuid, title, state }) => ({ key: `gpu ${uuid}`, name: title, state })),
    ];
    for (const { key, name, state } of things) {
      const before = levels.get(key);
      if (before === undefined) news.push(`${name} found: ${state.word}`);
      else if (isFault(before) !== isFault(state.level)) news.push(`${name}: ${state.word}`);
      levels.set(key, state.level);
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
        // Each says on its own what it is where the table is too narrow for a head.
        const cells = ['Programs', 'Default ports', 'To make it show its figures'].map((label) => {
          const cell = create('td', '');
          cell.setAttribute('data-label', label);
          return cell;
        });
        row.append(head, ...cells);
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
    updateGpus(state.gpus);
    announce(state, isFirst);
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
