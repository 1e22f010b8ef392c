// The views of the page, by their routes.
import type { Route } from '../shell/routes.ts';
import { ChangesView } from './changes.tsx';
import { ChartView } from './chart.tsx';
import { GapsView } from './gaps.tsx';
import { NodeView } from './node.tsx';
import { NodesView } from './nodes.tsx';
import { NowView } from './now.tsx';
import { RegisterView } from './register.tsx';
import { ServiceView } from './service.tsx';
import { ServicesView } from './services.tsx';
import { FindingView, StoryView } from './story.tsx';

export function ViewOf({ route }: { readonly route: Route }) {
  switch (route.view) {
    case 'now':
      return <NowView />;
    case 'chart':
      return <ChartView />;
    case 'story':
      return <StoryView node={route.node} port={route.port} protocol={route.protocol} />;
    case 'finding':
      return <FindingView id={route.id} />;
    case 'nodes':
      return <NodesView />;
    case 'node':
      return <NodeView name={route.node} />;
    case 'services':
      return <ServicesView />;
    case 'service':
      return <ServiceView namespace={route.namespace} name={route.name} />;
    case 'register':
      return <RegisterView />;
    case 'changes':
      return <ChangesView />;
    case 'gaps':
      return <GapsView />;
    case 'none':
      return (
        <section class="notice">
          <h1>No view has this address</h1>
          <p>
            <code>{route.path}</code> names nothing of this page. The views are above.
          </p>
        </section>
      );
  }
}
